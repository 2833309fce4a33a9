//! Borrowed views of feature rows and labels, and the fixed microbatch.
//!
//! Knows nothing of files, models or where the rows came from.

use crate::trainer::TrainerError;

/// Rows of one microbatch. Every microbatch has this shape, padded with rows that contribute exact
/// zeros, so that no kernel ever sees a shape that depends on how many records were drawn.
pub const MICROBATCH: usize = 256;

/// Feature rows, row major.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

/// Feature rows with one label each: 1.0 positive, 0.0 negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch<'a> {
    rows: Rows<'a>,
    labels: &'a [f32],
}

impl<'a> Rows<'a> {
    /// A view of `values` as rows of `width` inputs.
    ///
    /// # Errors
    /// [`TrainerError::RaggedRows`] if the width is zero or the values are not whole rows.
    pub fn new(values: &'a [f32], width: usize) -> Result<Self, TrainerError> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(TrainerError::RaggedRows { values: values.len(), width });
        }
        Ok(Self { values, width })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Inputs per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, row major.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Rows in groups of [`MICROBATCH`]; the last group may be shorter.
    pub fn microbatches(&self) -> impl Iterator<Item = Rows<'a>> + use<'a> {
        let width = self.width;
        self.values.chunks(MICROBATCH * width).map(move |values| Rows { values, width })
    }

    /// The values padded with zeros to [`MICROBATCH`] rows.
    pub fn padded(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(MICROBATCH.max(self.len()) * self.width);
        out.extend_from_slice(self.values);
        out.resize(MICROBATCH.max(self.len()) * self.width, 0.0);
        out
    }
}

impl<'a> Batch<'a> {
    /// Rows with their labels.
    ///
    /// # Errors
    /// [`TrainerError::LabelCount`] if they differ in number.
    pub fn new(rows: Rows<'a>, labels: &'a [f32]) -> Result<Self, TrainerError> {
        if rows.len() != labels.len() {
            return Err(TrainerError::LabelCount { rows: rows.len(), labels: labels.len() });
        }
        Ok(Self { rows, labels })
    }

    /// The feature rows.
    pub fn rows(&self) -> Rows<'a> {
        self.rows
    }

    /// The labels.
    pub fn labels(&self) -> &'a [f32] {
        self.labels
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Records in groups of [`MICROBATCH`]; the last group may be shorter.
    pub fn microbatches(&self) -> impl Iterator<Item = Batch<'a>> + use<'a> {
        let labels = self.labels.chunks(MICROBATCH);
        self.rows.microbatches().zip(labels).map(|(rows, labels)| Batch { rows, labels })
    }

    /// The labels padded with zeros to [`MICROBATCH`] rows.
    pub fn padded_labels(&self) -> Vec<f32> {
        let mut out = self.labels.to_vec();
        out.resize(MICROBATCH.max(self.len()), 0.0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_must_be_whole_and_labels_must_match() {
        assert!(Rows::new(&[0.0; 6], 3).is_ok());
        assert!(matches!(Rows::new(&[0.0; 7], 3), Err(TrainerError::RaggedRows { .. })));
        assert!(matches!(Rows::new(&[], 0), Err(TrainerError::RaggedRows { .. })));
        let rows = Rows::new(&[0.0; 6], 3).unwrap();
        assert!(matches!(Batch::new(rows, &[1.0]), Err(TrainerError::LabelCount { .. })));
    }

    #[test]
    fn microbatches_cover_every_record_once_and_pad_to_one_shape() {
        let values: Vec<f32> = (0..600 * 2).map(|v| v as f32).collect();
        let labels: Vec<f32> = (0..600).map(|v| v as f32).collect();
        let batch = Batch::new(Rows::new(&values, 2).unwrap(), &labels).unwrap();
        let parts: Vec<_> = batch.microbatches().collect();
        assert_eq!(parts.iter().map(Batch::len).collect::<Vec<_>>(), [256, 256, 88]);
        let seen: Vec<f32> = parts.iter().flat_map(|p| p.rows().values().to_vec()).collect();
        assert_eq!(seen, values);
        let seen: Vec<f32> = parts.iter().flat_map(|p| p.labels().to_vec()).collect();
        assert_eq!(seen, labels);
        for part in &parts {
            assert_eq!(part.rows().padded().len(), MICROBATCH * 2);
            assert_eq!(part.padded_labels().len(), MICROBATCH);
        }
        assert!(parts[2].rows().padded()[88 * 2..].iter().all(|v| *v == 0.0));
    }
}
