//! How many bits a lane of secure aggregation needs for the sum of one release.

/// Fewer save nothing worth having.
const MIN_LANE_BITS: u32 = 8;

/// Lanes are held in at most 32 bits; a clamp is derived so that the sum fits.
const MAX_LANE_BITS: u32 = 32;

/// The smallest b in 8..=32 with `n L + tail < 2^(b-1)`: then a sum over n nodes, each within plus or
/// minus L before noise that adds up to at most `tail`, lies in [-2^(b-1), 2^(b-1)) and opens modulo
/// 2^b as itself. `b = ceil(log2(2 (n L + kappa sigma sqrt(n))))`, one more at a power of two.
///
/// The bound is rounded up once and its bit length taken, so that every party gets the same number
/// without a logarithm.
pub(super) fn lane_bits(cohort: u16, clamp: i64, tail: f64) -> u8 {
    // The product is exact: below 2^16 times at most 2^31.
    let bound = (f64::from(cohort) * clamp as f64 + tail) * (1.0 + 4.0 * f64::EPSILON);
    let length = u64::BITS - (bound as u64).leading_zeros();
    (length + 1).clamp(MIN_LANE_BITS, MAX_LANE_BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        for (clamp, bits) in [(0, 8), (127, 8), (128, 9), (255, 9), (256, 10), (32_767, 16)] {
            assert_eq!(lane_bits(1, clamp, 0.0), bits, "{clamp}");
        }
        assert_eq!(lane_bits(1, 32_768, 0.0), 17);
        assert_eq!(lane_bits(1, 32_767, 0.9), 16);
        assert_eq!(lane_bits(1, 32_767, 1.0), 17);
        assert_eq!(lane_bits(1, 2_147_483_647, 0.0), 32);
        assert_eq!(lane_bits(1, 1_073_741_823, 0.0), 31);
        assert_eq!(lane_bits(65_535, 32_768, 65_535.0), 32);
    }
}
