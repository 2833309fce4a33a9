//! The fixed lists of reasons. A reason that leaves an agency is one of these, with public numbers
//! beside it: never data-dependent text.

use std::fmt;

/// Declares a reason enum with a kebab-case name for logs and metrics.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every code, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable kebab-case name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why a node refuses a job.
    RefusalCode {
        /// The job costs more epsilon than the agency's policy allows.
        PolicyEpsilon = "policy-epsilon",
        /// The job's delta is above the policy's.
        PolicyDelta = "policy-delta",
        /// Fewer survivors than the policy's floor could open a sum.
        PolicySurvivors = "policy-survivors",
        /// The job tolerates fewer colluding nodes than the policy asks for.
        PolicyCollusion = "policy-collusion",
        /// The policy does not allow this privacy mode.
        PolicyMode = "policy-mode",
        /// The policy does not allow this operation or model family.
        PolicyOperation = "policy-operation",
        /// The dataset's budget is spent.
        BudgetSpent = "budget-spent",
        /// No dataset of this name is registered.
        UnknownDataset = "unknown-dataset",
        /// The dataset's columns do not fit the job.
        SchemaMismatch = "schema-mismatch",
        /// The manifest is not well formed.
        BadManifest = "bad-manifest",
        /// The manifest's signature does not verify.
        BadSignature = "bad-signature",
        /// The roster does not have this agency, or has another key for it.
        NotInRoster = "not-in-roster",
        /// Somebody at the agency has yet to approve the job.
        NotApproved = "not-approved",
        /// Somebody at the agency has refused the job.
        ApprovalRefused = "approval-refused",
        /// This software cannot run the job.
        Unsupported = "unsupported",
        /// The node is in another job.
        Busy = "busy",
        /// The budget book is locked until somebody looks at it.
        BookLocked = "book-locked",
        /// The node cannot write its state.
        DiskError = "disk-error",
        /// The roster has signing keys that the agency has not pinned.
        PolicyRoster = "policy-roster",
        /// The agency's policy allows no rounds at this hour.
        OutsideHours = "outside-hours",
    }
}

codes! {
    /// Why an attempt, or the job, is over for a node.
    ReportCode {
        /// The dataset's budget does not cover another attempt.
        BudgetSpent = "budget-spent",
        /// The node does not hold this epoch's keys.
        NoEpochState = "no-epoch-state",
        /// Training failed.
        TrainingFailed = "training-failed",
        /// The model has become infinite or not a number.
        NonFinite = "non-finite",
        /// A message broke the secure-aggregation protocol.
        ProtocolFault = "protocol-fault",
        /// The node arrived at another state than the one announced.
        StateMismatch = "state-mismatch",
        /// The node lacks rounds and needs a certified state.
        StateMissing = "state-missing",
        /// The node cannot write its state.
        DiskError = "disk-error",
        /// The node is still busy with earlier work.
        Busy = "busy",
        /// The node has already uploaded in this attempt.
        AttemptSpent = "attempt-spent",
        /// The dataset is not the one that was approved.
        DatasetChanged = "dataset-changed",
        /// An operator at the agency stopped it.
        OperatorStopped = "operator-stopped",
        /// The budget book is locked until somebody looks at it.
        BookLocked = "book-locked",
    }
}

codes! {
    /// Why the aggregator ends a session.
    SessionRefusalCode {
        /// The protocol versions do not agree.
        Version = "version",
        /// The first frame was not an acceptable hello.
        BadHello = "bad-hello",
        /// A later frame broke the format.
        BadFrame = "bad-frame",
        /// The certificate is fine but the agency is not enrolled.
        UnknownAgency = "unknown-agency",
        /// The agency is revoked.
        Revoked = "revoked",
        /// The agency has opened a newer session.
        Replaced = "replaced",
        /// Too many sessions.
        Busy = "busy",
        /// The aggregator is stopping; connect again later.
        ShuttingDown = "shutting-down",
    }
}

codes! {
    /// How a job ended.
    JobOutcome {
        /// All rounds are done and certified.
        Completed = "completed",
        /// It stopped for lack of survivors, quorum, attempts or budget.
        Stopped = "stopped",
        /// Agencies refused it before it started.
        Refused = "refused",
        /// The central team cancelled it.
        Cancelled = "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn code_names_are_distinct() {
        let names: BTreeSet<_> = RefusalCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), RefusalCode::ALL.len());
        let names: BTreeSet<_> = ReportCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), ReportCode::ALL.len());
    }
}
