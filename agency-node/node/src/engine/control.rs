//! The agency's control variate c_i of SCAFFOLD (Karimireddy et al. 2020, Algorithm 1): its value after
//! the certified rounds, and the value that a vector under way would give it.
//!
//! It follows certified rounds alone, as the shared c does, so that c stays the mean of all c_i: a
//! vector that is in no certified sum moves neither. What a vector would make of it is durable before
//! the vector leaves, since a process that dies after that cannot make it again, and a certificate that
//! arrives later still says whether the vector counted. It is derived from records and never leaves the
//! node. Must not know records, a trainer or how it is computed: that is in `vector`.

use tributary_secagg::{Digest, NodeIndex, ResultQc};
use zeroize::Zeroizing;

use super::Secret;

/// The control variate of one job.
pub(super) struct Control {
    value: Vec<f32>,
    pending: Option<Pending>,
}

/// What the last vector that may have left would make of it.
struct Pending {
    round: u32,
    context: Digest,
    value: Vec<f32>,
}

const MAGIC: &[u8; 8] = b"TRBCTRL1";

impl Control {
    /// Before the first round: zeros.
    pub(super) fn new(parameters: usize) -> Self {
        Self { value: vec![0.0; parameters], pending: None }
    }

    /// c_i, one value per parameter.
    pub(super) fn value(&self) -> &[f32] {
        &self.value
    }

    /// A vector is about to leave that makes it this, if it is in the round's certified sum.
    pub(super) fn propose(&mut self, round: u32, context: Digest, value: Vec<f32>) {
        self.pending = Some(Pending { round, context, value });
    }

    /// A state of `completed` rounds is certified: what waited for its last round is decided. The
    /// certificate names the attempt and the agencies whose vectors are in the sum.
    pub(super) fn settle(&mut self, completed: u32, certificate: &ResultQc, me: NodeIndex) {
        let due = |pending: &mut Pending| pending.round.checked_add(1) == Some(completed);
        let Some(pending) = self.pending.take_if(due) else { return };
        if certificate.context == pending.context && certificate.survivors.contains(me) {
            self.value = pending.value;
        }
    }

    /// The round of a vector of which this node cannot tell any more whether it counted: the job is at
    /// a later round and the certificate of that one was never seen.
    pub(super) fn undecided(&self, completed: u32) -> Option<u32> {
        self.pending.as_ref().map(|pending| pending.round).filter(|round| *round < completed)
    }

    /// Its bytes for the node's own database, little endian.
    pub(super) fn encode(&self) -> Secret {
        let vectors = 1 + usize::from(self.pending.is_some());
        let mut out = Vec::with_capacity(MAGIC.len() + 36 + self.value.len() * 4 * vectors);
        out.extend_from_slice(MAGIC);
        let floats = |out: &mut Vec<u8>, values: &[f32]| {
            values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        };
        floats(&mut out, &self.value);
        if let Some(Pending { round, context, value }) = &self.pending {
            out.extend_from_slice(&round.to_le_bytes());
            out.extend_from_slice(&context.0);
            floats(&mut out, value);
        }
        Secret(Zeroizing::new(out))
    }

    /// Reads what [`Self::encode`] wrote for a model of so many parameters; `None` if it is anything
    /// else.
    pub(super) fn decode(bytes: &[u8], parameters: usize) -> Option<Self> {
        let vector = parameters.checked_mul(4)?;
        let (value, rest) = bytes.strip_prefix(MAGIC)?.split_at_checked(vector)?;
        let floats = |bytes: &[u8]| -> Vec<f32> {
            bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
        };
        let pending = if rest.is_empty() {
            None
        } else {
            let (round, rest) = rest.split_first_chunk()?;
            let (context, rest) = rest.split_first_chunk()?;
            let (round, context) = (u32::from_le_bytes(*round), Digest(*context));
            let whole = Some(rest).filter(|rest| rest.len() == vector)?;
            Some(Pending { round, context, value: floats(whole) })
        };
        Some(Self { value: floats(value), pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_secagg::NodeSet;

    fn certificate(context: u8, survivors: &[u16]) -> ResultQc {
        ResultQc {
            context: Digest([context; 32]),
            manifest_hash: Digest::ZERO,
            sum_root: Digest::ZERO,
            state_hash: Digest::ZERO,
            survivors: NodeSet::of(5, survivors.iter().map(|i| NodeIndex(*i))),
            signatures: Vec::new(),
        }
    }

    fn waiting() -> Control {
        let mut control = Control { value: vec![1.0, 2.0], pending: None };
        control.propose(7, Digest([9; 32]), vec![3.0, 4.0]);
        control
    }

    /// Over its bytes, as a restart has it.
    fn again(control: &Control) -> Control {
        Control::decode(&control.encode().0, 2).unwrap()
    }

    #[test]
    fn it_follows_the_certificate_of_the_attempt_that_it_took_part_in() {
        for (completed, context, survivors, expected, waits) in [
            (8, 9, &[0, 1, 2][..], [3.0, 4.0], false),
            // Not among the survivors; another attempt of the round; the round has not ended.
            (8, 9, &[1, 2, 3], [1.0, 2.0], false),
            (8, 5, &[0, 1, 2], [1.0, 2.0], false),
            (7, 9, &[0, 1, 2], [1.0, 2.0], true),
        ] {
            let mut control = again(&waiting());
            control.settle(completed, &certificate(context, survivors), NodeIndex(0));
            assert_eq!(again(&control).value(), expected, "{completed} {context} {survivors:?}");
            assert_eq!(control.pending.is_some(), waits);
            assert_eq!(control.undecided(completed), None);
        }
    }

    /// A certificate of a later round says nothing of this one: the node must not guess.
    #[test]
    fn a_round_whose_certificate_was_never_seen_stays_undecided() {
        let mut control = waiting();
        control.settle(9, &certificate(9, &[0, 1, 2]), NodeIndex(0));
        control.settle(10, &certificate(1, &[0, 1, 2]), NodeIndex(0));
        assert_eq!((control.value(), again(&control).undecided(10)), (&[1.0, 2.0][..], Some(7)));
    }

    #[test]
    fn bytes_of_another_shape_are_refused() {
        let bytes = waiting().encode().0;
        assert!(Control::decode(&bytes, 2).is_some());
        for parameters in [0, 1, 3] {
            assert!(Control::decode(&bytes, parameters).is_none(), "{parameters}");
        }
        for cut in 0..bytes.len() {
            let whole = cut == MAGIC.len() + 8;
            assert_eq!(Control::decode(&bytes[..cut], 2).is_some(), whole, "{cut}");
        }
        assert!(format!("{:?}", waiting().encode()).contains("redacted"));
    }
}
