//! Short names of sizes, `10x1e7`: keys of the result file and names of the cells.

/// A number of parameters: powers of ten from 10,000 on as `1e7`, everything else in digits.
pub fn dimension(d: u64) -> String {
    match d.checked_ilog10() {
        Some(exponent) if exponent >= 4 && 10_u64.checked_pow(exponent) == Some(d) => {
            format!("1e{exponent}")
        }
        _ => d.to_string(),
    }
}

/// A cohort of nodes that sums vectors of `dim` parameters.
pub fn cohort(nodes: u64, dim: u64) -> String {
    format!("{nodes}x{}", dimension(dim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers_are_short() {
        for (d, key) in [
            (10_000, "1e4"),
            (100_000, "1e5"),
            (1_000_000, "1e6"),
            (10_000_000, "1e7"),
            (10_000_000_000_000_000_000, "1e19"),
        ] {
            assert_eq!(dimension(d), key);
        }
    }

    #[test]
    fn others_are_digits() {
        for d in [0, 1, 9, 10, 1000, 9_999, 20_000, 999_999, 1_000_001, u64::MAX] {
            assert_eq!(dimension(d), d.to_string());
        }
    }

    #[test]
    fn cohorts_name_both() {
        assert_eq!(cohort(10, 10_000_000), "10x1e7");
        assert_eq!(cohort(100, 1), "100x1");
        assert_eq!(cohort(3, 12_345), "3x12345");
    }
}
