//! From a node's real sum to integers, or straight to lanes where no noise is added.
//!
//! It knows neither noise nor masks. The steps are 1-Lipschitz clamp, then stochastic rounding; the
//! sensitivity that [`Release`](crate::Release) derives relies on both. Nothing branches on a value:
//! the loop is made of additions, comparisons and selections that the compiler can vectorise on any
//! 64-bit processor, without a call to a rounding function; which instructions there are is asked when
//! the program runs.
//!
//! # The rounding
//!
//! With x = `scale * S` after the clamp, the result is `ceil(x - U)`, U uniform on the multiples of
//! 2^-52 in [0, 1), computed without any operation that could round: adding and subtracting
//! 1.5 * 2^52 gives the integer next to x (Hacker's Delight, 2nd edition, section 17-4), the rest
//! r in [-1/2, 1/2] is exact, and so are the comparisons of U and U - 1 with it. In law this is
//! `floor(x + U')`, U' = 1 - U.
//!
//! U's upper 16 bits are drawn for every coordinate; its lower 36 bits are drawn once for a tile of
//! [`TILE`] coordinates. So every U is uniform and the rounding unbiased to 2^-52, at two random bytes
//! a coordinate. Two coordinates of a tile are dependent only through the shared bits, which move
//! a probability by less than 2^-16: the covariance of their roundings is at most 2^-34. Privacy asks
//! nothing of U except that it does not depend on the data: |v - x| < 1 always, and with the same U
//! two inputs differ by less than |x - y| + 1, whatever U is and even if it were known.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use pulp::Arch;
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

/// `scale * S` per coordinate, clamped to plus or minus `clamp` and rounded stochastically to an
/// integer; shape `[d]` in, f64 or f32, `[d]` out, every result in `[-clamp, clamp]`.
///
/// Unbiased (to 2^-52) inside the clamp. Two inputs that differ by x in a coordinate, rounded with
/// the same randomness, differ by less than `|scale * x| + 1` there, whatever the randomness is (up
/// to the rounding of the product `scale * S` itself, which [`Release`](crate::Release) allows for).
/// What an f32 sum rounds has to be in the release's `float_error`.
///
/// A coordinate that is not finite becomes exactly 0. A negative clamp counts as 0 and one above 2^50
/// as 2^50. How much randomness is drawn depends on d only.
pub fn quantise<T, R>(sum: &[T], scale: f64, clamp: i64, rng: &mut R) -> Vec<i64>
where
    T: Copy + Into<f64>,
    R: RngCore + CryptoRng + ?Sized,
{
    let mut values = vec![0; sum.len()];
    in_tiles(sum, scale, clamp, rng, &mut values, |v| v);
    values
}

/// [`to_lanes`](crate::to_lanes) of [`quantise`] in one pass, for releases without noise. `lanes` gets
/// the length of `sum`, whatever it held before; a vector kept from the round before costs no fresh
/// memory, which for millions of coordinates takes longer than the arithmetic.
pub fn quantise_into_lanes<T, R>(
    sum: &[T],
    scale: f64,
    clamp: i64,
    rng: &mut R,
    lanes: &mut Vec<u32>,
) where
    T: Copy + Into<f64>,
    R: RngCore + CryptoRng + ?Sized,
{
    lanes.resize(sum.len(), 0);
    in_tiles(sum, scale, clamp, rng, lanes, |v| v as u32);
}

/// As [`quantise_into_lanes`], for releases whose sums have at most 16 bits:
/// [`to_narrow_lanes`](crate::to_narrow_lanes) of [`quantise`].
pub fn quantise_into_narrow_lanes<T, R>(
    sum: &[T],
    scale: f64,
    clamp: i64,
    rng: &mut R,
    lanes: &mut Vec<u16>,
) where
    T: Copy + Into<f64>,
    R: RngCore + CryptoRng + ?Sized,
{
    lanes.resize(sum.len(), 0);
    in_tiles(sum, scale, clamp, rng, lanes, |v| v as u16);
}

/// Coordinates that share the lower bits of U, and whose random bytes are drawn at once.
const TILE: usize = 2048;

/// Bits of U that a tile shares; the 16 bits above are each coordinate's own.
const SHARED_BITS: u32 = 36;

/// Beyond 2^51 the addition of [`MAGIC`] would no longer round to the nearest integer.
const MAX_CLAMP: i64 = 1 << 50;

/// 1.5 * 2^52: numbers of this binade are integers, on either side of it.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// Rounds `sum` into `out`, which has its length.
fn in_tiles<T, L, R>(
    sum: &[T],
    scale: f64,
    clamp: i64,
    rng: &mut R,
    out: &mut [L],
    convert: impl Fn(i64) -> L,
) where
    T: Copy + Into<f64>,
    R: RngCore + CryptoRng + ?Sized,
{
    let bound = clamp.clamp(0, MAX_CLAMP) as f64;
    let mut own = [[0_u8; 2]; TILE];
    let mut stream = stream(rng);
    let arch = Arch::new();
    for (out, sum) in out.chunks_mut(TILE).zip(sum.chunks(TILE)) {
        let shared = rng.next_u64() >> (64 - SHARED_BITS);
        own.fill([0; 2]);
        stream.apply_keystream(own.as_flattened_mut());
        // Compiled once for each instruction set; the same operations, hence the same bits.
        arch.dispatch(
            #[inline(always)]
            || {
                for ((out, value), own) in out.iter_mut().zip(sum).zip(&own) {
                    let uniform = (u64::from(u16::from_le_bytes(*own)) << SHARED_BITS) | shared;
                    *out = convert(round_one((*value).into(), scale, bound, uniform));
                }
            },
        );
    }
}

/// Where the bits of U come from: AES-256-CTR under a key of `rng`, one key for each vector and so one
/// for each stream. Processors make it several times as fast as they make ChaCha20.
fn stream<R: RngCore + CryptoRng + ?Sized>(rng: &mut R) -> Ctr128BE<Aes256> {
    let mut key = Zeroizing::new([0_u8; 32]);
    rng.fill_bytes(&mut *key);
    Ctr128BE::new((&*key).into(), &[0; 16].into())
}

/// `ceil(x - U)`, U = `uniform` * 2^-52 (`uniform` below 2^52), x the clamped product. `bound` is an
/// integer, so that the result cannot leave the clamp.
#[inline(always)]
fn round_one(value: f64, scale: f64, bound: f64, uniform: u64) -> i64 {
    let scaled = scale * value;
    // Selections, not min() and max(): one instruction each. Not a number is replaced below.
    let below = if scaled < bound { scaled } else { bound };
    let clamped = if below > -bound { below } else { -bound };
    let usable = (value.abs() <= f64::MAX) & !scaled.is_nan();
    let x = if usable { clamped } else { 0.0 };
    let shifted = x + MAGIC;
    let rest = x - (shifted - MAGIC);
    let nearest = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64;
    let one_plus = f64::from_bits(1.0_f64.to_bits() | uniform);
    // At most one of the two: U < r needs r > 0, and U - 1 >= r needs r < 0.
    nearest + i64::from(one_plus - 1.0 < rest) - i64::from(one_plus - 2.0 >= rest)
}

#[cfg(test)]
#[path = "quantise_tests.rs"]
mod tests;
