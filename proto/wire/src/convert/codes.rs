//! Reason codes to and from their numbers. Unknown numbers and 0 are refused.

use crate::error::WireError;
use crate::session::{JobOutcome, RefusalCode, ReportCode, SessionRefusalCode};
use crate::v1;

/// Pairs a domain enum with its generated twin, variant by variant: the compiler refuses a code
/// that exists on one side only.
macro_rules! code {
    ($domain:ident, $wire:ident, [$($variant:ident),+ $(,)?]) => {
        impl $domain {
            pub(super) fn parse(field: &'static str, value: i32) -> Result<Self, WireError> {
                match v1::$wire::try_from(value) {
                    $(Ok(v1::$wire::$variant) => Ok(Self::$variant),)+
                    Ok(v1::$wire::Unspecified) | Err(_) => {
                        Err(WireError::UnknownCode { field, value })
                    }
                }
            }

            pub(super) fn to_wire(self) -> i32 {
                match self { $(Self::$variant => v1::$wire::$variant as i32,)+ }
            }
        }
    };
}

code!(
    RefusalCode,
    JobRefusalCode,
    [
        PolicyEpsilon,
        PolicyDelta,
        PolicySurvivors,
        PolicyCollusion,
        PolicyMode,
        PolicyOperation,
        BudgetSpent,
        UnknownDataset,
        SchemaMismatch,
        BadManifest,
        BadSignature,
        NotInRoster,
        NotApproved,
        ApprovalRefused,
        Unsupported,
        Busy,
        BookLocked,
        DiskError,
        PolicyRoster,
        OutsideHours,
    ]
);
code!(
    ReportCode,
    ReportCode,
    [
        BudgetSpent,
        NoEpochState,
        TrainingFailed,
        NonFinite,
        ProtocolFault,
        StateMismatch,
        StateMissing,
        DiskError,
        Busy,
        AttemptSpent,
        DatasetChanged,
        OperatorStopped,
        BookLocked,
    ]
);
code!(
    SessionRefusalCode,
    SessionRefusalCode,
    [Version, BadHello, BadFrame, UnknownAgency, Revoked, Replaced, Busy, ShuttingDown]
);
code!(JobOutcome, JobOutcome, [Completed, Stopped, Refused, Cancelled]);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Copy + PartialEq + std::fmt::Debug>(
        all: &[T],
        to: fn(T) -> i32,
        from: fn(&'static str, i32) -> Result<T, WireError>,
    ) {
        // Numbers run from 1 without a gap in this version of the schema.
        for (number, code) in (1..).zip(all) {
            assert_eq!(to(*code), number);
            assert_eq!(from("code", number), Ok(*code));
        }
        for value in [0, -1, all.len() as i32 + 1, i32::MAX, i32::MIN] {
            assert_eq!(from("code", value), Err(WireError::UnknownCode { field: "code", value }));
        }
    }

    #[test]
    fn every_code_has_its_number_and_no_other_number_is_a_code() {
        check(RefusalCode::ALL, RefusalCode::to_wire, RefusalCode::parse);
        check(ReportCode::ALL, ReportCode::to_wire, ReportCode::parse);
        check(SessionRefusalCode::ALL, SessionRefusalCode::to_wire, SessionRefusalCode::parse);
        check(JobOutcome::ALL, JobOutcome::to_wire, JobOutcome::parse);
    }
}
