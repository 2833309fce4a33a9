//! Known answers of the mask stream, and agreement of everything with everything:
//! kernels, lane types, ways to cut a vector, numbers of threads.

use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use proptest::prelude::*;

use super::lane::bytes_of;
use super::*;

/// Blocks 0 and 1 under 00 01 .. 1f.
const FIRST: &str = "f29000b62a499fd0a9f39a6add2e7780f05d76ae4ab99fe5a6f69b3148c2363d";

/// Blocks 2^32 - 1 and 2^32 under the same key.
const CARRY: &str = "b9c2739810cba157a9fe6a108c6e569e641d1a3a80becff6f0f38f9764fdcf96";

fn key(byte: u8) -> MaskKey {
    MaskKey::copied(&[byte; 32])
}

fn workers(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// Lanes with all sorts of values.
fn some_lanes<L: Lane>(length: usize) -> Vec<L> {
    let mut lanes = vec![L::default(); length];
    apply_with(Kernel::Portable, &key(0xee), Sign::Plus, 3, &mut lanes);
    lanes
}

fn masks(signs: &[bool]) -> Vec<(MaskKey, Sign)> {
    let sign = |plus: bool| if plus { Sign::Plus } else { Sign::Minus };
    signs.iter().zip(1..).map(|(plus, byte)| (key(byte), sign(*plus))).collect()
}

fn one_by_one<L: Lane>(masks: &[(MaskKey, Sign)], first: u64, lanes: &mut [L]) {
    for (key, sign) in masks {
        apply_with(Kernel::Portable, key, *sign, first, lanes);
    }
}

/// Bytes `from..` of the stream, by the `ctr` crate alone.
fn oracle(key: &MaskKey, from: u128, length: usize) -> Vec<u8> {
    let counter = (from / 16).to_be_bytes();
    let inside = (from % 16) as usize;
    let mut bytes = vec![0; inside + length];
    Ctr128BE::<Aes256>::new(key.expose().into(), &counter.into()).apply_keystream(&mut bytes);
    bytes.split_off(inside)
}

/// NIST SP 800-38A, F.5.5: the oracle's cipher and counter are the standard's.
#[test]
fn sp800_38a_ctr_aes256() {
    let unhex = |text: &str| hex::decode(text).unwrap();
    let key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let mut data = unhex(concat!(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    ));
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&key, &counter).unwrap();
    cipher.apply_keystream(&mut data);
    assert_eq!(
        hex::encode(data),
        concat!(
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        )
    );
}

/// Fixed numbers (made with OpenSSL) for both lane types: the first blocks, and the
/// two blocks at which a 32-bit counter would begin again.
#[test]
fn known_lanes_under_the_counting_key() {
    let key = MaskKey::copied(&core::array::from_fn(|i| i as u8));
    for kernel in Kernel::available() {
        let mut wide = [0u32; 8];
        apply_with(kernel, &key, Sign::Plus, 0, &mut wide);
        assert_eq!(hex::encode(wide.map(u32::to_le_bytes).as_flattened()), FIRST, "{kernel}");
        let mut narrow = [0u16; 16];
        apply_with(kernel, &key, Sign::Plus, 0, &mut narrow);
        assert_eq!(hex::encode(narrow.map(u16::to_le_bytes).as_flattened()), FIRST, "{kernel}");
        apply_with(kernel, &key, Sign::Minus, 0, &mut narrow);
        apply_with(kernel, &key, Sign::Plus, 0xffff_ffff * 8, &mut narrow);
        assert_eq!(hex::encode(narrow.map(u16::to_le_bytes).as_flattened()), CARRY, "{kernel}");
    }
}

#[test]
fn a_kernel_is_named_and_a_missing_one_is_replaced() {
    let available = Kernel::available();
    assert!(available.contains(&kernel()));
    assert_eq!(available.last(), Some(&Kernel::Portable));
    // What is detected also works: otherwise a slower one would be in use unseen.
    assert_eq!(available.first(), Some(&kernel()));
    let mut expected = some_lanes::<u32>(700);
    one_by_one(&[(key(1), Sign::Plus)], 5, &mut expected);
    for kernel in [Kernel::VaesAvx512, Kernel::VaesAvx2, Kernel::AesNi, Kernel::Armv8Ce] {
        let mut lanes = some_lanes::<u32>(700);
        apply_with(kernel, &key(1), Sign::Plus, 5, &mut lanes);
        assert_eq!(lanes, expected, "{kernel}");
    }
}

/// Every kernel against the oracle, over the lanes that begin at byte `from`.
fn kernels_agree<L: Lane>(from: u128, length: usize) {
    let first = u64::try_from(from / L::BYTES as u128).unwrap();
    let mut expected = vec![L::default(); length];
    let stream = oracle(&key(9), u128::from(first) * L::BYTES as u128, length * L::BYTES);
    bytes_of(&mut expected).copy_from_slice(&stream);
    let old = some_lanes::<L>(length);
    for kernel in Kernel::available() {
        let mut lanes = vec![L::default(); length];
        apply_with(kernel, &key(9), Sign::Plus, first, &mut lanes);
        assert_eq!(lanes, expected, "{kernel} from lane {first}");
        // Subtraction on other values, undone by another kernel.
        lanes.copy_from_slice(&old);
        apply_with(kernel, &key(9), Sign::Minus, first, &mut lanes);
        apply_with(Kernel::Portable, &key(9), Sign::Plus, first, &mut lanes);
        assert_eq!(lanes, old, "{kernel} from lane {first}");
    }
}

#[test]
fn kernels_agree_where_counters_carry() {
    // Around 2^8, 2^16, 2^32 and 2^56 blocks.
    for power in [12, 20, 36, 60] {
        for before in [0, 2, 14, 16, 100, 510, 512, 514, 3000] {
            for length in [1, 7, 8, 255, 256, 257, 3001] {
                kernels_agree::<u16>((1 << power) - before, length);
                kernels_agree::<u32>((1 << power) - before, length);
            }
        }
    }
}

#[test]
fn the_last_lanes_of_the_stream_do_not_wrap() {
    for kernel in Kernel::available() {
        let mut lanes = [0u32; 900];
        apply_with(kernel, &key(9), Sign::Plus, u64::MAX - 100, &mut lanes);
        let stream = oracle(&key(9), (u128::from(u64::MAX) - 100) * 4, 3600);
        assert_eq!(lanes.map(u32::to_le_bytes).as_flattened(), stream, "{kernel}");
    }
}

fn one_pass_is_one_by_one<L: Lane>() {
    let masks = masks(&[true, false, false, true, true]);
    for (first, length) in [(0, 300_001), (12_345, 270_000), (1, 40_000), (7, 0), (0, 1)] {
        let mut expected = some_lanes::<L>(length);
        one_by_one(&masks, first, &mut expected);
        for number in 1..=5 {
            let mut lanes = some_lanes::<L>(length);
            apply_all(&masks, first, &mut lanes, workers(number));
            assert!(lanes == expected, "{number} workers, {length} lanes from {first}");
        }
        for kernel in Kernel::available() {
            let mut lanes = some_lanes::<L>(length);
            apply_all_with(kernel, &masks, first, &mut lanes, workers(1));
            assert!(lanes == expected, "{kernel}, {length} lanes from {first}");
        }
    }
}

#[test]
fn many_masks_in_one_pass_are_the_masks_one_by_one() {
    one_pass_is_one_by_one::<u16>();
    one_pass_is_one_by_one::<u32>();
}

/// Two threads that wait for each other at every block take turns, so that neither
/// holds neighbouring blocks; one worker is the calling thread.
#[test]
fn results_are_in_order_and_workers_are_threads() {
    let turn = Barrier::new(2);
    let blocks = apply_all_then(&[], &mut [0u16; 4], 1, workers(2), |index, _| {
        turn.wait();
        (index, thread::current().id())
    });
    assert!(blocks.iter().map(|(index, _)| *index).eq(0..4));
    let mine = |&&(_, id): &&(usize, ThreadId)| id == thread::current().id();
    assert_eq!(blocks.iter().filter(mine).count(), 2);
    let alone = apply_all_then(&[], &mut [0u16; 4], 1, workers(1), |_, _| thread::current().id());
    assert_eq!(alone, [thread::current().id(); 4]);
}

#[test]
fn a_panic_of_the_callback_is_passed_on() {
    for number in [1, 3] {
        let caught = std::panic::catch_unwind(|| {
            let mut lanes = [0u32; 10];
            apply_all_then(&[], &mut lanes, 1, workers(number), |index, _| assert!(index < 7));
        });
        assert!(caught.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_agree_anywhere(first: u64, shift in 0u32..64, length in 0usize..5000) {
        kernels_agree::<u16>(u128::from(first >> shift) * 2, length);
        kernels_agree::<u32>(u128::from(first >> shift) * 4, length);
    }

    #[test]
    fn halves_are_the_whole(first in 0..u64::MAX >> 1, length in 0usize..5000, cut in 0usize..5000) {
        let mut whole = some_lanes::<u16>(length);
        let mut halves = whole.clone();
        apply_from(&key(3), Sign::Plus, first, &mut whole);
        let (left, right) = halves.split_at_mut(cut.min(length));
        apply_from(&key(3), Sign::Plus, first, left);
        apply_from(&key(3), Sign::Plus, first + left.len() as u64, right);
        prop_assert_eq!(whole, halves);
    }

    #[test]
    fn masks_cancel_across_kernels(seed: [u8; 32], lanes in prop::collection::vec(any::<u32>(), 0..5000)) {
        let key = MaskKey::copied(&seed);
        for on in Kernel::available() {
            for off in Kernel::available() {
                let mut masked = lanes.clone();
                apply_with(on, &key, Sign::Plus, 0, &mut masked);
                prop_assert!(lanes.len() < 4 || masked != lanes);
                apply_with(off, &key, Sign::Plus.opposite(), 0, &mut masked);
                prop_assert_eq!(&masked, &lanes);
            }
        }
    }

    #[test]
    fn each_block_is_seen_once_and_complete(
        length in 0usize..5000,
        block in 0usize..700,
        number in 1usize..5,
        signs in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        let masks = masks(&signs);
        let mut expected = some_lanes::<u32>(length);
        one_by_one(&masks, 0, &mut expected);
        let calls = AtomicUsize::new(0);
        let mut lanes = some_lanes::<u32>(length);
        let blocks = apply_all_then(&masks, &mut lanes, block, workers(number), |index, lanes| {
            calls.fetch_add(1, Ordering::Relaxed);
            (index, lanes.to_vec())
        });
        prop_assert_eq!(calls.into_inner(), length.div_ceil(block.max(1)));
        let visited: Vec<_> = expected.chunks(block.max(1)).map(<[u32]>::to_vec).enumerate().collect();
        prop_assert_eq!(blocks, visited);
        prop_assert_eq!(lanes, expected);
    }
}
