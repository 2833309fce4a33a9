//! The fixed list of Renyi orders. Integers only: for the discrete Gaussian with integer shifts the
//! integer-order formulas are exact, so the result is a bound and not an approximation.

/// Number of orders.
pub(crate) const COUNT: usize = 127 + 56;

/// The orders {2, 3, ..., 128, 144, 160, ..., 1024}.
pub const ORDERS: [u32; COUNT] = build();

static LIST: [u32; COUNT] = ORDERS;

/// The orders as a slice.
pub fn orders() -> &'static [u32] {
    &LIST
}

const fn build() -> [u32; COUNT] {
    let mut list = [0; COUNT];
    let mut i = 0;
    while i < COUNT {
        list[i] = if i < 127 { i as u32 + 2 } else { 144 + 16 * (i as u32 - 127) };
        i += 1;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_the_documented_one() {
        let expected: Vec<u32> = (2..=128).chain((144..=1024).step_by(16)).collect();
        assert_eq!(orders(), expected.as_slice());
    }
}
