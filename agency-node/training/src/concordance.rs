//! Harrell's c: how often the record with the higher risk has its event first.
//!
//! Knows risks and times only. On real records the result is data.

/// Concordance (Harrell et al. 1982, "Evaluating the yield of medical tests") of risks with times to
/// an event, each label the time of the event or minus the time up to which it had not come. A pair
/// counts if the shorter time is an event's, at equal times if only one is; equal risks count one half.
/// Without censored records before the last event it is the area under the ROC curve of every cut.
/// `None` if no pair counts, the lengths differ, or a risk or label is NaN. Takes `n log n` steps.
pub fn concordance(risks: &[f32], labels: &[f32]) -> Option<f64> {
    let broken = |values: &[f32]| values.iter().any(|v| v.is_nan());
    if risks.len() != labels.len() || broken(risks) || broken(labels) {
        return None;
    }
    let mut sorted = risks.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    // The same comparison as the ranks', so that -0 ties with 0.
    sorted.dedup_by(|a, b| a == b);
    let rank = |risk: f32| sorted.partition_point(|other| *other < risk);
    let mut records: Vec<(f32, bool, usize)> = risks
        .iter()
        .zip(labels)
        .map(|(risk, label)| (label.abs(), label.is_sign_positive(), rank(*risk)))
        .collect();
    // Longest first; at equal times those without an event, which outlive the others.
    records.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut alive = Counts::new(sorted.len());
    // Twice the concordant pairs, and all that count, in integers.
    let (mut twice, mut pairs) = (0u128, 0u128);
    for tied in records.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
        for (_, event, rank) in tied {
            if *event {
                let (below, equal) = (alive.below(*rank), alive.at(*rank));
                twice += u128::from(2 * below + equal);
                pairs += u128::from(alive.total);
            }
        }
        tied.iter().for_each(|(_, _, rank)| alive.add(*rank));
    }
    (pairs > 0).then(|| twice as f64 / (2.0 * pairs as f64))
}

/// Counts by rank with prefix sums (Fenwick 1994).
struct Counts {
    tree: Vec<u64>,
    total: u64,
}

impl Counts {
    fn new(ranks: usize) -> Self {
        Self { tree: vec![0; ranks + 1], total: 0 }
    }

    fn add(&mut self, rank: usize) {
        self.total += 1;
        let mut i = rank + 1;
        while let Some(count) = self.tree.get_mut(i) {
            *count += 1;
            i += i & i.wrapping_neg();
        }
    }

    /// Those of smaller rank.
    fn below(&self, rank: usize) -> u64 {
        let (mut i, mut sum) = (rank, 0);
        while i > 0 {
            sum += self.tree.get(i).copied().unwrap_or_default();
            i &= i - 1;
        }
        sum
    }

    fn at(&self, rank: usize) -> u64 {
        self.below(rank + 1) - self.below(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hand_values() {
        assert_eq!(concordance(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(concordance(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), Some(0.0));
        assert_eq!(concordance(&[0.0, -0.0], &[1.0, 2.0]), Some(0.5));
        // The second was lost sight of before the third's event: that pair says nothing.
        assert_eq!(concordance(&[3.0, 1.0, 2.0], &[1.0, -2.0, 3.0]), Some(1.0));
        assert_eq!(concordance(&[1.0, 2.0], &[-1.0, 2.0]), None);
        assert_eq!(concordance(&[2.0, 1.0], &[1.0, -1.0]), Some(1.0), "it outlived the event");
        assert_eq!(concordance(&[2.0, 1.0], &[1.0, 1.0]), None, "two events at once");
        assert_eq!(concordance(&[f32::NAN, 1.0], &[1.0, 2.0]), None);
        assert_eq!(concordance(&[1.0], &[1.0, 2.0]), None);
    }

    proptest! {
        #[test]
        fn it_is_the_share_of_ordered_pairs(records in
            proptest::collection::vec((0u8..5, 0u8..6, any::<bool>()), 2..40)) {
            let risks: Vec<f32> = records.iter().map(|r| f32::from(r.0)).collect();
            let labels: Vec<f32> = records
                .iter()
                .map(|r| if r.2 { f32::from(r.1) } else { -f32::from(r.1) })
                .collect();
            let (mut twice, mut pairs) = (0u32, 0u32);
            for a in &records {
                for b in &records {
                    if a.2 && (a.1 < b.1 || a.1 == b.1 && !b.2) {
                        pairs += 1;
                        twice += match a.0.cmp(&b.0) {
                            std::cmp::Ordering::Greater => 2,
                            std::cmp::Ordering::Equal => 1,
                            std::cmp::Ordering::Less => 0,
                        };
                    }
                }
            }
            let expected = (pairs > 0).then(|| f64::from(twice) / 2.0 / f64::from(pairs));
            match (concordance(&risks, &labels), expected) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }
}
