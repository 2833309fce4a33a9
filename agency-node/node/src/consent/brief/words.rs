//! The brief as a page of text.

use std::fmt;

use tributary_dp::Adversary;

use super::super::Decision;
use super::{Brief, Budget};

/// An adversary, as a steward knows it.
pub(super) fn adversary(adversary: Adversary) -> &'static str {
    match adversary {
        Adversary::Public => "the public, if every agency takes part to the end",
        Adversary::Aggregator => "the aggregator, with the fewest agencies left",
        Adversary::Colluders => "the aggregator together with the colluders allowed for",
        Adversary::EverybodyElse => "everybody else together",
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [address, key] = &self.aggregator;
        writeln!(f, "JOB {}", self.job)?;
        writeln!(f, "  {}: {}", self.name, self.purpose)?;
        writeln!(f, "\nWHO ASKS\n  the aggregator at {address}, with the pinned key {key}")?;
        self.work(f)?;
        self.data(f)?;
        self.privacy(f)?;
        match &self.budget {
            Some(budget) => budget.fmt(f)?,
            None => writeln!(f, "\nBUDGET\n  no number bounds what this job gives away")?,
        }
        writeln!(f, "\nWHAT LEAVES THIS NODE")?;
        self.leaves.iter().try_for_each(|line| writeln!(f, "  - {line}"))?;
        self.roster(f)?;
        self.state(f)
    }
}

impl Brief {
    fn work(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = &self.work;
        writeln!(f, "\nWHAT RUNS\n  {}, {} parameters", work.model, work.parameters)?;
        let first = if work.statistics { "one round of statistics, then " } else { "" };
        write!(f, "  {first}{} rounds of training", work.training_rounds)?;
        match (work.local_epochs, work.local_steps) {
            (_, Some(k)) => writeln!(
                f,
                ", with {k} steps in each, which are corrected by what this node has learnt of its own \
                 records and keeps to itself until the job ends (SCAFFOLD)"
            )?,
            (0, None) => writeln!(f, ", one step of training in each")?,
            (n, None) => writeln!(f, ", with {n} passes over the records in each")?,
        }
        writeln!(f, "  about {} MiB of memory", work.memory_mib)
    }

    fn data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = &self.data;
        write!(f, "\nON WHICH DATA\n  {}, ", data.dataset)?;
        match &data.version {
            Ok(version) => write!(f, "version {version}")?,
            Err(problem) => write!(f, "which cannot be read now ({problem})")?,
        }
        if let Some(rows) = data.rows {
            write!(f, ", {rows} rows now")?;
        }
        writeln!(f, "; others are told {} records", data.declared_records)?;
        writeln!(f, "  columns that are read:")?;
        data.columns.iter().try_for_each(|column| writeln!(f, "  - {column}"))
    }

    fn privacy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let privacy = &self.privacy;
        writeln!(f, "\nPRIVACY\n  mode {}: {}", privacy.mode, privacy.promise)?;
        let Some(unit) = &privacy.unit else {
            return writeln!(f, "  NO DIFFERENTIAL PRIVACY");
        };
        writeln!(
            f,
            "  epsilon per {unit} for the whole job, at delta {:e}, against",
            privacy.delta
        )?;
        for (who, epsilon) in &privacy.epsilon {
            writeln!(f, "  {epsilon:>8.3}  {who}")?;
        }
        writeln!(
            f,
            "  (sums of at least {} agencies; {} colluding agencies are allowed for)",
            self.least_survivors, self.colluders
        )
    }

    fn roster(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWHO ELSE TAKES PART")?;
        for member in &self.roster {
            let pin = match member.pin.as_str() {
                "own" => "this agency".to_owned(),
                "pinned" => "its key is pinned".to_owned(),
                "unknown" => "ITS KEY IS NOT PINNED HERE".to_owned(),
                other => format!("ANOTHER KEY IS PINNED: {other}"),
            };
            writeln!(f, "  {:<20} {}  {pin}", member.agency, member.fingerprint)?;
        }
        Ok(())
    }

    fn state(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nWHERE IT STANDS")?;
        match &self.policy {
            None => writeln!(f, "  the policy has nothing against it")?,
            Some(problem) => writeln!(f, "  THE POLICY REFUSES IT: {problem}")?,
        }
        match &self.decision {
            None => writeln!(f, "  nobody has decided about it yet"),
            Some(Decision::Approved { approval }) => match approval.read() {
                Ok(a) => writeln!(
                    f,
                    "  approved by {} at {} until {}, for version {} of the dataset",
                    a.steward, a.issued, a.expires, a.dataset_version
                ),
                Err(problem) => writeln!(f, "  {problem}"),
            },
            Some(Decision::Denied { by, at, reason }) => {
                writeln!(f, "  denied by {by} at {at}: {reason}")
            }
            Some(Decision::Revoked { by, at, reason }) => {
                writeln!(f, "  approval revoked by {by} at {at}: {reason}")
            }
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = |is: f64, limit: f64| if is > limit { "  DOES NOT FIT" } else { "" };
        writeln!(f, "\nBUDGET (epsilon as the book counts it, at delta {:e})", self.delta)?;
        writeln!(
            f,
            "  over all jobs:    {:.3} now, {:.3} with this job, of {}{}",
            self.committed,
            self.would_be,
            self.limit,
            over(self.would_be, self.limit)
        )?;
        writeln!(
            f,
            "  in the last year: {:.3} now, {:.3} with this job, of {}{}",
            self.year,
            self.year_would_be,
            self.year_limit,
            over(self.year_would_be, self.year_limit)
        )
    }
}
