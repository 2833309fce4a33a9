//! Texts with labels as tensors: what a classifier reads, and what it should say.
//!
//! A text that holds anything but tokens and, after them, padding is *bad*, and so is one whose label is
//! no class: its unit contributes exact zeros. Knows nothing of networks.

use tch::{TchError, Tensor};
use tributary_training::{Batch, Rows};

use crate::unit_sums::Inputs;

/// The label of a row that counts nothing.
const IGNORED: i64 = -100;

/// The texts of a batch.
#[derive(Debug)]
pub(super) struct Texts {
    /// `[rows, context]`, -1 where there is no token.
    tokens: Vec<i64>,
    labels: Vec<i64>,
    context: usize,
    units: Option<Vec<usize>>,
    bad: Vec<bool>,
}

impl Texts {
    /// Of a batch whose rows are texts over a vocabulary of `tokens`, with `outputs` logits.
    pub(super) fn of(batch: &Batch<'_>, tokens: usize, outputs: usize) -> Self {
        let mut out = Self::unlabelled(batch.rows(), tokens);
        out.units = batch.units().map(|lengths| lengths.iter().map(|n| *n as usize).collect());
        let classes = outputs.max(2) as f32;
        for (row, label) in batch.labels().iter().enumerate() {
            let is_class = *label >= 0.0 && *label < classes && label.fract() == 0.0;
            out.bad[row] |= !is_class;
            out.labels.push(if out.bad[row] { IGNORED } else { *label as i64 });
        }
        out
    }

    /// Texts to be read only.
    pub(super) fn unlabelled(rows: Rows<'_>, tokens: usize) -> Self {
        let context = rows.width();
        let mut out = Self {
            tokens: Vec::with_capacity(rows.values().len()),
            labels: Vec::new(),
            context,
            units: None,
            bad: Vec::with_capacity(rows.len()),
        };
        for row in rows.values().chunks_exact(context) {
            let is_token = |v: &&f32| **v >= 0.0 && v.fract() == 0.0 && (**v as usize) < tokens;
            let length = row.iter().take_while(is_token).count();
            let padded = row[length..].iter().all(|v| *v == tributary_training::PADDING);
            let bad = !padded || length == 0;
            let start = out.tokens.len();
            out.tokens.extend(row.iter().take(if bad { 0 } else { length }).map(|v| *v as i64));
            out.tokens.resize(start + context, -1);
            out.bad.push(bad);
        }
        out
    }

    /// The tokens of some rows, `[rows, context]`.
    pub(super) fn tokens(&self, start: usize, end: usize, rows: usize) -> Result<Tensor, TchError> {
        let mut values = self.tokens[start * self.context..end * self.context].to_vec();
        values.resize(rows * self.context, -1);
        Tensor::f_from_slice(&values)?.f_view([rows as i64, self.context as i64])
    }
}

impl Inputs for Texts {
    fn len(&self) -> usize {
        self.bad.len()
    }

    fn units(&self) -> Option<&[usize]> {
        self.units.as_deref()
    }

    fn is_bad(&self, row: usize) -> bool {
        self.bad.get(row).copied().unwrap_or(true)
    }

    fn tensors(&self, start: usize, end: usize, rows: usize) -> Result<Vec<Tensor>, TchError> {
        let mut labels = self.labels[start..end].to_vec();
        labels.resize(rows, IGNORED);
        Ok(vec![self.tokens(start, end, rows)?, Tensor::f_from_slice(&labels)?])
    }
}

/// A few texts of several lengths that are unlike each other, for a trial of this machine.
pub(super) fn unlike(
    context: usize,
    tokens: usize,
    outputs: usize,
) -> Result<Vec<Tensor>, TchError> {
    const ROWS: usize = 7;
    let token = |i: usize| {
        // Low-discrepancy values over the whole vocabulary; every row is shorter than the last.
        let step = (i + 1) as f64 * 0.618_033_988_749_894_9;
        let (row, place) = (i / context, i % context);
        let there = place < context - row * context / (2 * ROWS);
        if there { ((step.fract() * tokens as f64) as i64).min(tokens as i64 - 1) } else { -1 }
    };
    let values: Vec<i64> = (0..ROWS * context).map(token).collect();
    let labels: Vec<i64> = (0..ROWS).map(|i| (i % outputs.max(2)) as i64).collect();
    let tokens = Tensor::f_from_slice(&values)?.f_view([ROWS as i64, context as i64])?;
    Ok(vec![tokens, Tensor::f_from_slice(&labels)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_training::PADDING;

    #[test]
    fn what_is_no_text_or_no_class_is_bad() {
        let values = [[3.0, 1.0], [2.0, PADDING], [PADDING; 2], [9.0, 1.0], [1.0, 1.0]].concat();
        let labels = [1.0, 0.0, 1.0, 1.0, 2.0];
        let batch = Batch::new(Rows::new(&values, 2).unwrap(), &labels).unwrap();
        let texts = Texts::of(&batch, 5, 1);
        let bad: Vec<_> = (0..6).map(|row| texts.is_bad(row)).collect();
        assert_eq!(bad, [false, false, true, true, true, true]);
        let tensors = texts.tensors(1, 3, 3).unwrap();
        let all = |tensor: &Tensor| Vec::<i64>::try_from(tensor.flatten(0, -1)).unwrap();
        assert_eq!(all(&tensors[0]), [2, -1, -1, -1, -1, -1]);
        assert_eq!(all(&tensors[1]), [0, -100, -100]);
    }
}
