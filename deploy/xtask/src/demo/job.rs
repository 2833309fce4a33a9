//! The job of the demo: the file under `deploy/demo/`, shortened if the person asks for it.

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// `min_survivors` of a job file that does not say it.
const DEFAULT_FLOOR: i64 = 5;

/// The job as it will be submitted.
#[derive(Debug)]
pub struct DemoJob {
    text: String,
    agencies: Vec<String>,
    rounds: u32,
    dataset: String,
    survivor_floor: i64,
    shortened: bool,
}

impl DemoJob {
    /// Takes the job file and the person's wishes: fewer or more rounds, fewer agencies.
    ///
    /// Fewer than the file's agencies also lower the floor of survivors, where that is needed so
    /// that one agency may still drop out.
    pub fn new(template: &str, rounds: Option<u32>, agencies: Option<u16>) -> Result<Self> {
        let mut table: Table = template.parse().context("the demo's job file is no TOML")?;
        let mut names = agency_names(&table)?;
        let mut shortened = false;
        if let Some(count) = agencies.map(usize::from).filter(|count| *count < names.len()) {
            names.truncate(count);
            table.insert("agencies".into(), names.clone().into());
            section(&mut table, "secure_aggregation")?
                .insert("min_survivors".into(), Value::Integer(lowest_floor(count)));
            shortened = true;
        }
        let training = section(&mut table, "training")?;
        let own_rounds = training.get("rounds").and_then(Value::as_integer);
        let own_rounds = own_rounds.and_then(|rounds| u32::try_from(rounds).ok());
        let own_rounds = own_rounds.context("the demo's job file has no training.rounds")?;
        if let Some(rounds) = rounds.filter(|rounds| *rounds != own_rounds) {
            training.insert("rounds".into(), Value::Integer(rounds.into()));
            shortened = true;
        }
        let survivor_floor = section(&mut table, "secure_aggregation")?
            .get("min_survivors")
            .and_then(Value::as_integer)
            .unwrap_or(DEFAULT_FLOOR);
        let dataset = table.get("dataset").and_then(Value::as_str).map(str::to_owned);
        let text = if shortened {
            toml::to_string_pretty(&table).context("cannot write the shortened job")?
        } else {
            template.to_owned()
        };
        Ok(Self {
            text,
            agencies: names,
            rounds: rounds.unwrap_or(own_rounds),
            dataset: dataset.context("the demo's job file has no dataset")?,
            survivor_floor,
            shortened,
        })
    }

    /// The job file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Agencies in the order of the roster, largest first.
    pub fn agencies(&self) -> &[String] {
        &self.agencies
    }

    /// Training rounds.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Name of the dataset at every agency.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Smallest survivor set whose sum may be opened, as far as the job file decides it.
    pub fn survivor_floor(&self) -> i64 {
        self.survivor_floor
    }

    /// Whether the person asked for another number of rounds or agencies: then the bar of the
    /// main job says nothing.
    pub fn is_shortened(&self) -> bool {
        self.shortened
    }
}

fn agency_names(table: &Table) -> Result<Vec<String>> {
    let list = table.get("agencies").and_then(Value::as_array);
    let names: Option<Vec<String>> =
        list.and_then(|list| list.iter().map(|v| v.as_str().map(str::to_owned)).collect());
    match names {
        Some(names) if names.len() >= 3 => Ok(names),
        _ => bail!("the demo's job file must list at least three agencies"),
    }
}

/// The smallest floor that the protocol's own thresholds leave (`tau` and the tolerated dropouts
/// at the default fractions of 0.2), at most the default of 5.
fn lowest_floor(agencies: usize) -> i64 {
    let corrupt = agencies.div_ceil(5);
    let tau = (agencies + corrupt) / 2 + 1;
    let without_dropouts = (agencies * 4).div_ceil(5);
    (tau.max(without_dropouts) as i64).min(DEFAULT_FLOOR)
}

fn section<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    let entry = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().with_context(|| format!("{name} in the demo's job file is no table"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tributary_job::JobSpec;
    use tributary_job::spec::FeatureSpec;

    use super::*;
    use crate::data::{AGENCIES, columns};

    const TEMPLATE: &str = include_str!("../../../demo/flights.toml");

    #[test]
    fn the_demos_job_is_valid_and_fits_the_data() {
        let spec = JobSpec::from_toml(TEMPLATE).unwrap();
        assert_eq!(spec.agencies, AGENCIES);
        assert_eq!(spec.data.label.column, columns::LABEL);
        let known: BTreeSet<_> = columns::COLUMNS.iter().map(|c| c.name).collect();
        for feature in &spec.data.features {
            for column in feature.columns() {
                assert!(known.contains(&*column) && column != columns::LABEL, "{column}");
            }
            if let FeatureSpec::Category { column, values } = feature {
                assert!(values.iter().all(|value| !value.is_empty()), "{column}");
            }
        }
        assert!(spec.privacy.epsilon.is_some_and(|epsilon| epsilon <= 2.0));
        assert!(spec.privacy.delta <= 1e-6);
    }

    #[test]
    fn unchanged_wishes_leave_the_file_as_it_is() {
        let job = DemoJob::new(TEMPLATE, None, Some(10)).unwrap();
        assert_eq!(job.text(), TEMPLATE);
        assert!(!job.is_shortened());
        assert_eq!((job.agencies().len(), job.rounds(), job.dataset()), (10, 200, "flights"));
    }

    #[test]
    fn a_shortened_job_is_still_valid() {
        for count in 3..10 {
            let job = DemoJob::new(TEMPLATE, Some(20), Some(count)).unwrap();
            let spec = JobSpec::from_toml(job.text()).unwrap();
            assert_eq!(spec.agencies, AGENCIES[..usize::from(count)]);
            assert_eq!((spec.training.rounds, job.rounds()), (20, 20));
            assert!(job.is_shortened());
            let full = JobSpec::from_toml(TEMPLATE).unwrap();
            assert_eq!(spec.data, full.data);
        }
    }

    #[test]
    fn five_agencies_may_lose_one() {
        let floors: Vec<i64> = (3..=10).map(lowest_floor).collect();
        assert_eq!(floors, [3, 4, 4, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn a_broken_file_is_refused() {
        assert!(DemoJob::new("agencies = 3", None, None).is_err());
        assert!(DemoJob::new("agencies = ['a','b','c']", None, None).is_err());
        assert!(DemoJob::new("nonsense", None, None).is_err());
    }
}
