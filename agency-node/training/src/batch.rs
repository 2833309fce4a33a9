//! Borrowed views of feature rows, labels and units, and the fixed microbatch.
//!
//! Knows nothing of files, models or where the rows came from.

use std::ops::Range;

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

/// Feature rows with one label each: of a binary model 1.0 positive and 0.0 negative, otherwise the
/// index of the class.
///
/// A *unit* is whose influence is bounded: a record, or, if the batch says so, some consecutive
/// records of one person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch<'a> {
    rows: Rows<'a>,
    labels: &'a [f32],
    units: Option<&'a [u32]>,
}

/// The microbatches of a batch: whole units, in order, as many as fit.
#[derive(Debug, Clone)]
struct Microbatches<'a> {
    rest: Batch<'a>,
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
        Ok(Self { rows, labels, units: None })
    }

    /// Rows with their labels, where unit i is the next `lengths[i]` rows.
    ///
    /// # Errors
    /// As [`Batch::new`], and [`TrainerError::Units`] if a length is 0 or above [`MICROBATCH`], or
    /// the lengths do not add up to the number of rows.
    pub fn with_units(
        rows: Rows<'a>,
        labels: &'a [f32],
        lengths: &'a [u32],
    ) -> Result<Self, TrainerError> {
        let batch = Self::new(rows, labels)?;
        let covered: u64 = lengths.iter().map(|n| u64::from(*n)).sum();
        if covered != rows.len() as u64
            || lengths.iter().any(|n| *n == 0 || *n as usize > MICROBATCH)
        {
            return Err(TrainerError::Units { rows: rows.len(), units: lengths.len() });
        }
        Ok(Self { units: Some(lengths), ..batch })
    }

    /// The feature rows.
    pub fn rows(&self) -> Rows<'a> {
        self.rows
    }

    /// The labels.
    pub fn labels(&self) -> &'a [f32] {
        self.labels
    }

    /// Number of rows of each unit; `None` if every record is a unit of its own.
    pub fn units(&self) -> Option<&'a [u32]> {
        self.units
    }

    /// The rows of each unit, in order.
    pub fn unit_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (units, count) = (self.units, self.units.map_or(self.len(), <[u32]>::len));
        let mut next = 0;
        (0..count).map(move |i| {
            let start = next;
            next += units.map_or(1, |lengths| lengths[i] as usize);
            start..next
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Whole units in groups of at most [`MICROBATCH`] records, as many as fit. Without units every
    /// group but the last is full.
    pub fn microbatches(&self) -> impl Iterator<Item = Batch<'a>> + use<'a> {
        Microbatches { rest: *self }
    }

    /// The labels padded with zeros to [`MICROBATCH`] rows.
    pub fn padded_labels(&self) -> Vec<f32> {
        let mut out = self.labels.to_vec();
        out.resize(MICROBATCH.max(self.len()), 0.0);
        out
    }
}

impl<'a> Iterator for Microbatches<'a> {
    type Item = Batch<'a>;

    fn next(&mut self) -> Option<Batch<'a>> {
        let Batch { rows, labels, units } = self.rest;
        if labels.is_empty() {
            return None;
        }
        let (mut taken, mut count) = (0, 0);
        for length in units.unwrap_or_default() {
            if taken + *length as usize > MICROBATCH {
                break;
            }
            taken += *length as usize;
            count += 1;
        }
        if units.is_none() {
            taken = labels.len().min(MICROBATCH);
        }
        let (labels, other_labels) = labels.split_at(taken);
        let (values, other_values) = rows.values.split_at(taken * rows.width);
        let width = rows.width;
        self.rest = Batch {
            rows: Rows { values: other_values, width },
            labels: other_labels,
            units: units.map(|lengths| &lengths[count..]),
        };
        let units = units.map(|lengths| &lengths[..count]);
        Some(Batch { rows: Rows { values, width }, labels, units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn units_must_cover_the_rows_and_fit_a_microbatch() {
        let (values, labels) = (vec![0.0; 300], vec![0.0; 300]);
        let rows = Rows::new(&values, 1).unwrap();
        let units = |lengths: &[u32]| Batch::with_units(rows, &labels, lengths).map(|_| ());
        assert!(units(&[256, 44]).is_ok());
        for wrong in [&[257, 43][..], &[256, 43], &[256, 45], &[256, 0, 44], &[], &[u32::MAX, 4]] {
            assert!(matches!(units(wrong), Err(TrainerError::Units { .. })), "{wrong:?}");
        }
        let batch = Batch::new(rows, &labels).unwrap();
        assert_eq!(
            batch.unit_ranges().collect::<Vec<_>>(),
            (0..300).map(|i| i..i + 1).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn no_unit_straddles_a_microbatch_and_none_is_lost(lengths in
            proptest::collection::vec(prop_oneof![1u32..=16, 1u32..=256], 0..60)) {
            let count: u32 = lengths.iter().sum();
            let labels: Vec<f32> = (0..count).map(|v| v as f32).collect();
            let batch = Batch::with_units(Rows::new(&labels, 1).unwrap(), &labels, &lengths).unwrap();
            let parts: Vec<_> = batch.microbatches().collect();
            let seen: Vec<u32> = parts.iter().flat_map(|p| p.units().unwrap().to_vec()).collect();
            prop_assert_eq!(&seen, &lengths);
            let seen: Vec<f32> = parts.iter().flat_map(|p| p.labels().to_vec()).collect();
            prop_assert_eq!(&seen, &labels);
            for part in &parts {
                prop_assert!(!part.is_empty() && part.len() <= MICROBATCH);
                prop_assert_eq!(part.unit_ranges().last().unwrap().end, part.len());
                prop_assert_eq!(part.rows().values(), part.labels());
            }
            // What the bound on rounding counts on.
            prop_assert!(parts.windows(2).all(|w| w[0].len() + w[1].len() > MICROBATCH));
        }
    }
}
