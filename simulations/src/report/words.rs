//! The sentences that depend on how a run went: honest in either case.

use tributary_dp::Adversary;

use crate::summary::Summary;

/// The headline.
pub fn headline(s: &Summary) -> String {
    let n = s.agencies.len();
    let private = s.epsilon.is_some();
    match (private, beats_every_silo(s)) {
        (true, true) => format!(
            "{n} agencies trained one model together. It beats what any of them learns alone, \
             with a privacy guarantee for every record."
        ),
        (true, false) => format!(
            "{n} agencies trained one model together, with a privacy guarantee for every record. \
             In this run it does not beat the best agency alone."
        ),
        (false, true) => format!(
            "{n} agencies trained one model together. It beats what any of them learns alone; \
             there is no differential privacy in this run."
        ),
        (false, false) => format!(
            "{n} agencies trained one model together, without differential privacy. In this run \
             it does not beat the best agency alone."
        ),
    }
}

/// What the model reaches, in a sentence or two.
pub fn result(s: &Summary) -> String {
    let gap = s.pooled_quality() - s.quality();
    let to_pooled = if gap > 0.000_5 {
        format!("{gap:.3} below what all data in one place would give without any privacy")
    } else {
        "as good as what all data in one place would give without any privacy".to_owned()
    };
    let to_silo = match s.best_silo() {
        Some((name, auc)) if s.quality() >= auc => {
            format!(" and {:.3} above the best agency alone ({name})", s.quality() - auc)
        }
        Some((name, auc)) => {
            format!(", but {:.3} below the best agency alone ({name})", auc - s.quality())
        }
        None => String::new(),
    };
    format!(
        "On {} held-out records the shared model reaches an {} of {:.3}: {to_pooled}{to_silo}.",
        thousands(s.test_records),
        s.measure(),
        s.quality()
    )
}

/// Whether the federation is above every agency alone.
pub fn beats_every_silo(s: &Summary) -> bool {
    s.best_silo().is_some_and(|(_, auc)| s.quality() > auc)
}

/// What an epsilon means, roughly, for a person who was in the data.
pub fn odds(epsilon: f64) -> String {
    match epsilon {
        e if e > 7.0 => "no meaningful protection".to_owned(),
        e if e > 2.5 => format!("odds change at most {:.0}-fold", e.exp()),
        e => format!("odds change at most {:.1}-fold", e.exp()),
    }
}

/// Who an adversary is.
pub fn adversary(s: &Summary, adversary: Adversary) -> String {
    let n = s.agencies.len();
    match adversary {
        Adversary::Public => format!(
            "Anybody who sees the published sums and models, when all {n} agencies' noise is in them"
        ),
        Adversary::Aggregator => format!(
            "The aggregator itself, even if only {} agencies' vectors are in every sum",
            s.min_survivors
        ),
        Adversary::Colluders => format!(
            "The aggregator together with {} agenc{} that tell{} it everything",
            s.colluders.max(1),
            if s.colluders.max(1) == 1 { "y" } else { "ies" },
            if s.colluders.max(1) == 1 { "s" } else { "" }
        ),
        Adversary::EverybodyElse => {
            format!("The aggregator and all {} other agencies together", n.saturating_sub(1))
        }
    }
}

/// `12345` as `12,345`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn the_words_follow_the_numbers() {
        let good = example();
        assert!(headline(&good).contains("beats what any of them learns alone"));
        assert!(result(&good).contains("0.010 below") && result(&good).contains("0.030 above"));
        let mut bad = example();
        bad.test_auc = Some(0.60);
        assert!(headline(&bad).contains("does not beat"));
        assert!(result(&bad).contains("but 0.110 below the best agency alone"));
        let classes = Summary { test_auc: None, ..example() };
        assert!(result(&classes).contains("an accuracy of 0.700"));
        let open = Summary { epsilon: None, ..example() };
        assert!(headline(&open).contains("no differential privacy"));
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(odds(1.0), "odds change at most 2.7-fold");
        assert_eq!(odds(4.0), "odds change at most 55-fold");
        assert_eq!(odds(31.0), "no meaningful protection");
    }
}
