//! Signed integers as the unsigned lanes that secure aggregation adds, and back.
//!
//! It knows no mask, no scale and no release. A sum is opened modulo 2^b, with b the release's
//! `lane_bits`; vectors are held as u16 where b is at most 16 and as u32 otherwise. A lane may carry
//! more than b bits: additions modulo 2^16 or 2^32 followed by a reduction modulo 2^b give the same
//! as additions modulo 2^b, so only the packing for the wire and the functions that read a sum here
//! know b. What wraps is a wrong number and no leak: reduction is applied to values that already
//! carry their noise.

/// Two's complement modulo 2^32; shape `[d]` in, `[d]` out.
pub fn to_lanes(values: &[i64]) -> Vec<u32> {
    values.iter().map(|v| *v as u32).collect()
}

/// Two's complement modulo 2^16, for sums of at most 16 bits; shape `[d]` in, `[d]` out.
pub fn to_narrow_lanes(values: &[i64]) -> Vec<u16> {
    values.iter().map(|v| *v as u16).collect()
}

/// The lowest `bits` bits of every lane as a signed number in `[-2^(bits-1), 2^(bits-1))`: the sum of
/// the signed values if that lies there. Higher bits are ignored. Shape `[d]` in, `[d]` out; `bits`
/// is in 1..=32, and what is outside counts as the nearer end.
pub fn from_lanes(lanes: &[u32], bits: u8) -> Vec<i64> {
    let unused = 32 - u32::from(bits.clamp(1, 32));
    lanes.iter().map(|l| i64::from((*l << unused) as i32 >> unused)).collect()
}

/// As [`from_lanes`], of 16-bit lanes; `bits` is in 1..=16, and what is outside counts as the nearer
/// end.
pub fn from_narrow_lanes(lanes: &[u16], bits: u8) -> Vec<i64> {
    let unused = 16 - u32::from(bits.clamp(1, 16));
    lanes.iter().map(|l| i64::from((*l << unused) as i16 >> unused)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: the representative of `value` modulo 2^bits in `[-2^(bits-1), 2^(bits-1))`.
    fn wrapped(value: i64, bits: u8) -> i64 {
        let (modulus, half) = (1_i128 << bits, 1_i128 << (bits - 1));
        ((i128::from(value) + half).rem_euclid(modulus) - half) as i64
    }

    #[test]
    fn lanes_wrap_like_two_complement() {
        let values = [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN), -123_456_789];
        assert_eq!(from_lanes(&to_lanes(&values), 32), values);
        assert_eq!(to_lanes(&[-1, 1 << 32]), [u32::MAX, 0]);
        assert_eq!(to_narrow_lanes(&[-1, 1 << 16, 65_537]), [u16::MAX, 0, 1]);
        let sum: Vec<u32> = to_lanes(&[-5, 7])
            .iter()
            .zip(to_lanes(&[3, -9]))
            .map(|(a, b)| a.wrapping_add(b))
            .collect();
        assert_eq!(from_lanes(&sum, 32), [-2, -2]);
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(from_lanes(&[127, 128, 255, 256, 0xffff_ff80], 8), [127, -128, -1, 0, -128]);
        assert_eq!(from_narrow_lanes(&[127, 128, 255, 256, 0xff80], 8), [127, -128, -1, 0, -128]);
        assert_eq!(from_narrow_lanes(&[32_767, 32_768, 65_535], 16), [32_767, -32_768, -1]);
        assert_eq!(from_lanes(&[0, 1, 2, 3], 1), [0, -1, 0, -1]);
    }

    #[test]
    fn impossible_widths_count_as_the_nearer_end() {
        let (wide, narrow) = ([0, 1, 77, u32::MAX], [0, 1, 77, u16::MAX]);
        assert_eq!(from_lanes(&wide, 0), from_lanes(&wide, 1));
        assert_eq!(from_lanes(&wide, 255), from_lanes(&wide, 32));
        assert_eq!(from_narrow_lanes(&narrow, 0), from_narrow_lanes(&narrow, 1));
        assert_eq!(from_narrow_lanes(&narrow, 17), from_narrow_lanes(&narrow, 16));
    }

    proptest! {
        /// The sum of lanes, wrapped at any width, is the wrapped sum: a function of the true sum
        /// alone, so a wrap is post-processing.
        #[test]
        fn sums_of_lanes_are_wrapped_sums(
            values in prop::collection::vec(-(1_i64 << 40)..1 << 40, 1..20), bits in 1..=32_u8,
        ) {
            let sum = values.iter().sum::<i64>();
            let wide = to_lanes(&values).into_iter().fold(0, u32::wrapping_add);
            prop_assert_eq!(from_lanes(&[wide], bits), [wrapped(sum, bits)]);
            let narrow = to_narrow_lanes(&values).into_iter().fold(0, u16::wrapping_add);
            let bits = bits.min(16);
            prop_assert_eq!(from_narrow_lanes(&[narrow], bits), [wrapped(sum, bits)]);
        }
    }
}
