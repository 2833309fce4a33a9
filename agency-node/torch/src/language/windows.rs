//! Windows of tokens as tensors: what the network reads, and what it should say.
//!
//! A window that holds anything but tokens and, after them, padding is *bad*: its unit contributes
//! exact zeros. Knows nothing of networks.

use tch::{TchError, Tensor};
use tributary_training::Batch;

use crate::unit_sums::Inputs;

/// The target of a position that counts nothing.
const IGNORED: i64 = -100;

/// The windows of a batch.
#[derive(Debug)]
pub(super) struct Windows {
    /// `[rows, context]`, 0 where there is no token.
    tokens: Vec<i64>,
    /// `[rows, context]`, [`IGNORED`] where there is none.
    targets: Vec<i64>,
    context: usize,
    units: Option<Vec<usize>>,
    bad: Vec<bool>,
}

/// Some windows as tensors.
pub(super) struct Slice {
    /// Tokens and targets, `[rows, context]` each.
    pub(super) tensors: [Tensor; 2],
    /// Targets that count.
    pub(super) targets: usize,
}

impl Windows {
    /// Of a batch whose rows are windows over a vocabulary of `tokens`.
    pub(super) fn of(batch: &Batch<'_>, tokens: usize) -> Self {
        let width = batch.rows().width();
        let mut out = Self {
            tokens: Vec::with_capacity(batch.rows().values().len()),
            targets: Vec::with_capacity(batch.rows().values().len()),
            context: width - 1,
            units: batch.units().map(|lengths| lengths.iter().map(|n| *n as usize).collect()),
            bad: Vec::with_capacity(batch.len()),
        };
        for row in batch.rows().values().chunks_exact(width) {
            out.push(row, tokens);
        }
        out
    }

    fn push(&mut self, row: &[f32], tokens: usize) {
        let start = self.tokens.len();
        // Token numbers are exact in f32; anything else is no token.
        let token = |value: f32| {
            let whole = value >= 0.0 && value.fract() == 0.0 && (value as usize) < tokens;
            whole.then_some(value as i64)
        };
        let length = row.iter().take_while(|value| token(**value).is_some()).count();
        let padded = row[length..].iter().all(|value| *value == tributary_training::PADDING);
        self.bad.push(!padded);
        let used = if padded { length } else { 0 };
        let values = row[..used].iter().map(|value| *value as i64);
        self.tokens.extend(values.clone().take(self.context));
        self.tokens.resize(start + self.context, 0);
        self.targets.extend(values.skip(1));
        self.targets.resize(start + self.context, IGNORED);
    }

    /// The windows from `start` to `end`, with empty ones up to `rows`.
    pub(super) fn rows(&self, start: usize, end: usize, rows: usize) -> Result<Slice, TchError> {
        let tensor = |values: &[i64], filler: i64| {
            let mut values = values[start * self.context..end * self.context].to_vec();
            values.resize(rows * self.context, filler);
            Tensor::f_from_slice(&values)?.f_view([rows as i64, self.context as i64])
        };
        let counted = &self.targets[start * self.context..end * self.context];
        let targets = counted.iter().filter(|target| **target != IGNORED).count();
        Ok(Slice { tensors: [tensor(&self.tokens, 0)?, tensor(&self.targets, IGNORED)?], targets })
    }
}

impl Inputs for Windows {
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
        Ok(self.rows(start, end, rows)?.tensors.into())
    }
}

/// A few windows that are unlike each other, for a trial of this machine.
pub(super) fn unlike(context: usize, tokens: usize) -> Result<Vec<Tensor>, TchError> {
    const ROWS: usize = 7;
    let tensor = |offset: usize| {
        // Low-discrepancy values over the whole vocabulary.
        let value = |i: usize| {
            let step = (i + offset) as f64 * 0.618_033_988_749_894_9;
            ((step.fract() * tokens as f64) as i64).min(tokens as i64 - 1)
        };
        let values: Vec<i64> = (0..ROWS * context).map(value).collect();
        Tensor::f_from_slice(&values)?.f_view([ROWS as i64, context as i64])
    };
    Ok(vec![tensor(1)?, tensor(2)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_training::{PADDING, Rows};

    #[test]
    fn targets_follow_tokens_and_what_is_no_text_is_noticed() {
        let values = [
            [3.0, 1.0, 4.0, 1.0],
            [2.0, 0.0, PADDING, PADDING],
            [5.0, 1.0, 1.0, 1.0],
            [0.5, 1.0, 1.0, 1.0],
            [1.0, PADDING, 1.0, 1.0],
            [f32::NAN, 1.0, 1.0, 1.0],
            [PADDING; 4],
        ]
        .concat();
        let labels = [0.0; 7];
        let batch = Batch::new(Rows::new(&values, 4).unwrap(), &labels).unwrap();
        let windows = Windows::of(&batch, 5);
        let bad: Vec<_> = (0..8).map(|row| windows.is_bad(row)).collect();
        assert_eq!(bad, [false, false, true, true, true, true, false, true]);
        let slice = windows.rows(1, 3, 2).unwrap();
        assert_eq!(slice.targets, 1);
        let all = |tensor: &Tensor| Vec::<i64>::try_from(tensor.flatten(0, -1)).unwrap();
        assert_eq!(all(&slice.tensors[0]), [2, 0, 0, 0, 0, 0]);
        assert_eq!(all(&slice.tensors[1]), [0, -100, -100, -100, -100, -100]);
        assert_eq!(windows.rows(6, 7, 3).unwrap().tensors[0].size(), [3, 3]);
    }
}
