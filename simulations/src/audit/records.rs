//! Records made up within the bounds of a job's table.
//!
//! It knows no plan and no mechanism, and reads no file.

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;
use tributary_job::spec::{DataSpec, FeatureSpec, LabelValues};
use tributary_training::Dataset;

use crate::error::SimulationError;

/// One record of the job's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    cells: Vec<String>,
    positive: bool,
}

impl Record {
    /// A record with every cell at a bound of its column, drawn at random.
    pub fn extreme(spec: &DataSpec, rng: &mut ChaCha20Rng) -> Self {
        let pick = |rng: &mut ChaCha20Rng, n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
        let mut cells = Vec::new();
        for feature in &spec.features {
            match feature {
                FeatureSpec::Numeric { min, max, .. } => {
                    cells.push([min, max][pick(rng, 2)].to_string());
                }
                FeatureSpec::Block { count, min, max, .. } => {
                    cells.extend((0..*count).map(|_| [min, max][pick(rng, 2)].to_string()));
                }
                FeatureSpec::Category { values, .. } => {
                    cells.push(values.get(pick(rng, values.len())).cloned().unwrap_or_default());
                }
            }
        }
        Self { cells, positive: rng.next_u32() & 1 == 1 }
    }

    /// A record of a laboratory: input `set` is 1 or -1, all others are 0.
    #[must_use]
    pub fn of_laboratory(inputs: usize, set: usize, sign: f64, positive: bool) -> Self {
        let cell = |i| if i == set { sign.signum().to_string() } else { "0".to_owned() };
        Self { cells: (0..inputs).map(cell).collect(), positive }
    }

    /// The same record with the other label: its gradient points the other way.
    #[must_use]
    pub fn opposite(&self) -> Self {
        Self { cells: self.cells.clone(), positive: !self.positive }
    }
}

/// L2 norm.
#[must_use]
pub fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Records as a node would read them from its table.
///
/// # Errors
/// If they do not fit the job's columns.
pub fn table(spec: &DataSpec, records: &[Record]) -> Result<Dataset, SimulationError> {
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let line = |cells: &mut dyn Iterator<Item = &str>, label: &str| {
        let mut line: Vec<String> = cells.map(quoted).collect();
        line.push(quoted(label));
        line.join(",") + "\n"
    };
    let label = &spec.label;
    if label.duration.is_some() {
        let text =
            "the audit makes up records with a class; it has none with times to an event yet";
        return Err(SimulationError::Settings(text.into()));
    }
    let columns: Vec<_> = spec.features.iter().flat_map(FeatureSpec::columns).collect();
    let mut text = line(&mut columns.iter().map(AsRef::as_ref), &label.column);
    // Of several classes the first two: their records pull against each other.
    let values = match &label.values {
        LabelValues::Binary { positive, negative } => [positive, negative],
        LabelValues::Classes(classes) => match classes.as_slice() {
            [first, second, ..] => [first, second],
            _ => return Err(SimulationError::Data("the job has fewer than two classes".into())),
        },
        LabelValues::NextToken => {
            let text = "the audit makes up records of columns; it has none for text yet";
            return Err(SimulationError::Settings(text.into()));
        }
    };
    for record in records {
        let value = if record.positive { values[0] } else { values[1] };
        text += &line(&mut record.cells.iter().map(String::as_str), value);
    }
    let (data, _) = Dataset::read_tolerant(text.as_bytes(), spec)
        .map_err(|e| SimulationError::Data(e.to_string()))?;
    if data.len() != records.len() {
        let text = "the job's columns cannot hold the audit's records";
        return Err(SimulationError::Data(text.into()));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::super::setting::choices;
    use super::*;
    use tributary_job::spec::LabelSpec;

    #[test]
    fn made_up_records_fit_the_job_whatever_its_cells_hold() {
        let (mut job, _) = super::super::built_in_job().unwrap();
        if let Some(FeatureSpec::Category { column, values }) = job.data.features.last_mut() {
            *column = "odd, \"column\"".into();
            *values = vec!["a,b".into(), "say \"c\"".into()];
        }
        let mut rng = choices(1, 1);
        let records: Vec<_> = (0..50).map(|_| Record::extreme(&job.data, &mut rng)).collect();
        let data = table(&job.data, &records).unwrap();
        assert_eq!(data.len(), 50);
        let both = [records[0].clone(), records[0].opposite()];
        let labels = table(&job.data, &both).unwrap().labels(&[0, 1]);
        assert_eq!(labels[0] + labels[1], 1.0);
    }

    #[test]
    fn blocks_and_classes_are_made_up_too() {
        let (mut job, _) = super::super::built_in_job().unwrap();
        let (prefix, count, min, max) = ("p".to_owned(), 7, 0.0, 255.0);
        job.data.features.push(FeatureSpec::Block { prefix, count, min, max });
        job.data.label = LabelSpec::classes("digit", ["zero", "one", "two"]);
        let mut rng = choices(1, 2);
        let records: Vec<_> = (0..20).map(|_| Record::extreme(&job.data, &mut rng)).collect();
        assert_eq!(table(&job.data, &records).unwrap().len(), 20);
    }
}
