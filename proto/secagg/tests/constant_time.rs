//! Whether the time of what handles secrets tells anything of them: Welch's t test
//! over two classes of inputs, after Reparaz, Balasch, Verbauwhede, *dude, is my code
//! constant time?* (DATE 2017). Both classes are measured in turns, in random order,
//! and the slowest measurements are cropped at several percentiles.
//!
//! What it can show: that a dependence of the size of an early exit, a branch or a
//! table is there on this machine, with this compiler; two deliberately leaky
//! functions stand beside the real ones and must be found, so the test can fail.
//! What it cannot show: that there is no dependence. It sees neither inputs it does
//! not try, nor other processors, nor power or radiation, nor leaks of a cycle or two
//! in a function of thousands. That the sources have neither branch nor address from a
//! secret is what the review of `shamir.rs`, `keys.rs` and `mask/` has to say.
//!
//! It is lenient, so that a busy machine does not fail it: a cell fails only if every
//! one of several repeats gives |t| above the threshold, while the leaks are far above.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::mask::{self, MaskKey, Sign};
use tributary_secagg::shamir::{Interpolation, deal};

/// |t| below which a cell passes; 4.5 is the usual bound for "leaks" on a quiet machine.
const LENIENT: f64 = 15.0;

/// Repeats of which the best counts.
const REPEATS: usize = 6;

/// Percentiles above which measurements are cropped.
const CROPS: [f64; 3] = [0.5, 0.8, 0.95];

/// One cell at a time: they would only disturb each other.
static QUIET: Mutex<()> = Mutex::new(());

/// Times `work` on inputs of both classes; the largest |t| over all crops.
fn t<I>(
    samples: usize,
    seed: u64,
    input: &dyn Fn(bool, &mut ChaCha20Rng) -> I,
    work: &dyn Fn(&I),
) -> f64 {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let inputs: Vec<(bool, I)> = (0..samples)
        .map(|_| {
            let class = rng.next_u32() & 1 == 1;
            (class, input(class, &mut rng))
        })
        .collect();
    for (_, input) in inputs.iter().take(samples / 10) {
        work(black_box(input));
    }
    let times: Vec<(bool, f64)> = inputs
        .iter()
        .map(|(class, input)| {
            let start = Instant::now();
            work(black_box(input));
            (*class, start.elapsed().as_nanos() as f64)
        })
        .collect();
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |crop: f64| sorted[((samples - 1) as f64 * crop) as usize];
    CROPS.into_iter().map(|crop| welch(&times, at(crop)).abs()).fold(0.0, f64::max)
}

/// Welch's t of the two classes, without what took longer than `most`.
fn welch(times: &[(bool, f64)], most: f64) -> f64 {
    let moments = |class: bool| {
        let of: Vec<f64> =
            times.iter().filter(|(c, t)| *c == class && *t <= most).map(|(_, t)| *t).collect();
        let n = of.len() as f64;
        let mean = of.iter().sum::<f64>() / n;
        let variance = of.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (n, mean, variance)
    };
    let ((n, mean, variance), (m, other, spread)) = (moments(false), moments(true));
    // A clock that is coarser than the spread: a nanosecond stands for its noise.
    (mean - other) / (variance / n + spread / m + 1.0 / n.min(m)).sqrt()
}

fn best<I>(samples: usize, input: &dyn Fn(bool, &mut ChaCha20Rng) -> I, work: &dyn Fn(&I)) -> f64 {
    let mut best = f64::INFINITY;
    for seed in 0..REPEATS as u64 {
        best = best.min(t(samples, seed, input, work));
        if best < LENIENT / 3.0 {
            break;
        }
    }
    best
}

/// A cell that must not leak.
fn tight<I>(
    name: &str,
    samples: usize,
    input: &dyn Fn(bool, &mut ChaCha20Rng) -> I,
    work: &dyn Fn(&I),
) {
    let _quiet = QUIET.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = best(samples, input, work);
    println!("{name}: |t| = {found:.1}");
    assert!(found < LENIENT, "{name}: |t| = {found:.1} in the best of {REPEATS} repeats");
}

/// A control that does leak: the worst of a few repeats must be seen.
fn leaks<I>(
    name: &str,
    samples: usize,
    input: &dyn Fn(bool, &mut ChaCha20Rng) -> I,
    work: &dyn Fn(&I),
) {
    let _quiet = QUIET.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = best(samples, input, work);
    println!("{name}: |t| = {found:.1} (leaks by design)");
    assert!(found > LENIENT, "{name} leaks and |t| = {found:.1}: this test would find nothing");
}

/// Zero or random bytes.
fn secret(class: bool, rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut secret = [0u8; 32];
    let mut other = [0u8; 32];
    rng.fill_bytes(&mut other);
    if class {
        secret = other;
    }
    secret
}

const SLOTS: [u8; 7] = [1, 2, 3, 4, 5, 6, 7];

#[test]
fn dealing_takes_the_same_time_for_every_secret() {
    tight("deal", 8_000, &secret, &|secret| {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let _ = black_box(deal(secret, 4, &SLOTS, &mut rng));
    });
}

#[test]
fn opening_takes_the_same_time_for_all_shares() {
    let at = Interpolation::at_zero(&SLOTS).unwrap();
    let shares = |class: bool, rng: &mut ChaCha20Rng| -> Vec<[u8; 32]> {
        SLOTS.iter().map(|_| secret(class, rng)).collect()
    };
    tight("open", 20_000, &shares, &|shares| {
        let shares: Vec<&[u8; 32]> = shares.iter().collect();
        let _ = black_box(at.secret(&shares));
    });
}

/// Two tags that differ in the first or in the last byte.
fn tags(class: bool, rng: &mut ChaCha20Rng) -> ([u8; 4096], [u8; 4096]) {
    let mut one = [0u8; 4096];
    rng.fill_bytes(&mut one);
    let mut other = one;
    other[if class { 4095 } else { 0 }] ^= 0x40;
    (one, other)
}

/// The primitive by which the crate compares tags and confirmations
/// (`keys::same`), on longer inputs than the protocol's so that it would show.
#[test]
fn comparing_takes_the_same_time_wherever_tags_differ() {
    tight("same", 10_000, &tags, &|(one, other)| {
        let _ = black_box(aws_lc_rs::constant_time::verify_slices_are_equal(one, other));
    });
}

#[test]
fn masking_takes_the_same_time_for_every_vector() {
    let key = MaskKey::copied(&[9; 32]);
    let vector = |class: bool, rng: &mut ChaCha20Rng| -> Vec<u32> {
        (0..512).map(|_| rng.next_u32() * u32::from(class)).collect()
    };
    tight("mask", 8_000, &vector, &|vector| {
        let mut lanes = vector.clone();
        mask::apply(&key, Sign::Plus, &mut lanes);
        black_box(lanes);
    });
}

#[test]
fn an_early_exit_is_found() {
    leaks("early exit", 10_000, &tags, &|(one, other)| {
        let mut same = true;
        for (a, b) in one.iter().zip(other) {
            if black_box(a) != black_box(b) {
                same = false;
                break;
            }
        }
        black_box(same);
    });
}

/// Multiplication as it is often written: by logarithms, with a case for zero. The
/// case of zero alone tells a secret with zero bytes from one without.
#[test]
fn multiplication_by_tables_is_found() {
    let (mut exponents, mut logarithms) = ([0u8; 512], [0u16; 256]);
    let mut power = 1u8;
    for exponent in 0..255u16 {
        exponents[usize::from(exponent)] = power;
        exponents[usize::from(exponent) + 255] = power;
        logarithms[usize::from(power)] = exponent;
        // The generator is x + 1.
        power ^= (power << 1) ^ ((power >> 7) * 0x1b);
    }
    let by_table = |a: u8, b: u8| {
        if a == 0 || b == 0 {
            return 0;
        }
        exponents[usize::from(logarithms[usize::from(a)] + logarithms[usize::from(b)])]
    };
    assert_eq!(by_table(0x53, 0xca), 1, "FIPS 197, section 4.2");
    leaks("tables", 20_000, &secret, &|secret| {
        for slot in SLOTS {
            for byte in secret {
                black_box(by_table(black_box(*byte), slot));
            }
        }
    });
}

/// What the statistics cannot say: the field arithmetic has no table, and every
/// index, branch and loop bound of it comes from public slots and scalars.
#[test]
fn the_sharing_has_no_table() {
    let source = include_str!("../src/shamir.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let tables = ["static ", "; 256] =", "; 255] =", "LOG", "EXP", "TABLE"];
    for table in tables {
        assert!(!code.contains(table), "shamir.rs holds {table:?}");
    }
    // The one array of 256 entries counts slots, which are public.
    assert_eq!(code.matches("256]").count(), 1);
    assert!(code.contains("let mut seen = [false; 256]"));
}
