//! What the state of a job carries along that evaluates on the way: the sums so far, and the parameters of
//! the best evaluation where the job releases those.
//!
//! Part of the state, so that its hash is what a quorum signs: nobody who holds a certified state has to
//! be told how the model did before. Knows bytes; neither plans nor metrics.

/// The evaluations of a job so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluations {
    /// Certified sums of the evaluation rounds, in order, integer units.
    pub sums: Vec<Vec<i64>>,
    /// The best one; `None` where the last state is released, or none could be read.
    pub best: Option<Best>,
}

/// The best evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Which one, counted from 0.
    pub evaluation: u32,
    /// The parameters that it measured.
    pub parameters: Vec<f32>,
}

/// What the bytes begin with. As a number it is far below any clip norm, which may stand in its place.
pub(crate) const TAG: &[u8; 8] = b"TRBEVAL1";
/// In the place of the best evaluation where there is none.
const NONE: u32 = u32::MAX;

impl Evaluations {
    /// Canonical bytes, little endian: tag, number of sums, length of each, the sums, the best one.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(TAG);
        let length = self.sums.first().map_or(0, Vec::len);
        out.extend_from_slice(&(self.sums.len() as u32).to_le_bytes());
        out.extend_from_slice(&(length as u32).to_le_bytes());
        for value in self.sums.iter().flatten() {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let best = self.best.as_ref();
        out.extend_from_slice(&best.map_or(NONE, |best| best.evaluation).to_le_bytes());
        for value in best.iter().flat_map(|best| &best.parameters) {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// Reads canonical bytes of a model with so many parameters; `None` for anything else. Nothing is
    /// allocated for what the bytes do not hold.
    pub(crate) fn decode(bytes: &[u8], parameters: usize) -> Option<Self> {
        let bytes = bytes.strip_prefix(TAG)?;
        let (count, bytes) = word(bytes)?;
        let (length, bytes) = word(bytes)?;
        let (count, length) = (usize::try_from(count).ok()?, usize::try_from(length).ok()?);
        if (count == 0) != (length == 0) {
            return None;
        }
        let (sums, bytes) = bytes.split_at_checked(count.checked_mul(length)?.checked_mul(8)?)?;
        let mut values = sums.chunks_exact(8).filter_map(|v| v.first_chunk().copied());
        let mut values = values.by_ref().map(i64::from_le_bytes);
        let sums = (0..count).map(|_| values.by_ref().take(length).collect()).collect();
        let (evaluation, bytes) = word(bytes)?;
        if evaluation == NONE {
            return bytes.is_empty().then_some(Self { sums, best: None });
        }
        if bytes.len() != parameters.checked_mul(4)? || evaluation as usize >= count {
            return None;
        }
        let floats = bytes.chunks_exact(4).filter_map(|v| v.first_chunk().copied());
        let best = Best { evaluation, parameters: floats.map(f32::from_le_bytes).collect() };
        Some(Self { sums, best: Some(best) })
    }

    /// Most bytes that `count` sums of this length take, with the best of so many parameters.
    #[must_use]
    pub fn most_bytes(count: u32, length: u32, parameters: usize) -> usize {
        TAG.len() + 12 + count as usize * length as usize * 8 + parameters * 4
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(evaluations: &Evaluations) -> Vec<u8> {
        let mut out = Vec::new();
        evaluations.encode_into(&mut out);
        out
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_others_are_refused(
            sums in proptest::collection::vec(proptest::collection::vec(any::<i64>(), 5), 0..4),
            parameters in proptest::collection::vec(-1.0f32..1.0, 3),
            best in any::<bool>(),
            cut in 0usize..400,
            flip in 0usize..400,
        ) {
            let evaluation = sums.len().saturating_sub(1) as u32;
            let best = (best && !sums.is_empty()).then_some(Best { evaluation, parameters });
            let evaluations = Evaluations { sums, best };
            let bytes = encoded(&evaluations);
            prop_assert_eq!(Evaluations::decode(&bytes, 3), Some(evaluations.clone()));
            prop_assert!(bytes.len() <= Evaluations::most_bytes(evaluations.sums.len() as u32, 5, 3));
            if evaluations.best.is_some() {
                prop_assert_eq!(Evaluations::decode(&bytes, 4), None);
            }
            if cut < bytes.len() {
                prop_assert_eq!(Evaluations::decode(&bytes[..cut], 3), None);
            }
            let mut damaged = bytes.clone();
            let at = flip % bytes.len();
            damaged[at] ^= 1;
            // Whatever is read is written back as it was: one state has one form.
            if let Some(read) = Evaluations::decode(&damaged, 3) {
                prop_assert_eq!(encoded(&read), damaged);
            }
        }
    }
}
