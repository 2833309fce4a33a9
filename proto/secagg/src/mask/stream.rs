//! The stream of one key, over any range of lanes: whole groups go to a kernel, a
//! ragged head or tail through a group of its own. It knows no tile and no thread.
#![expect(
    unsafe_code,
    reason = "a kernel needs instructions that the compiler cannot see detected"
)]

use aes::Aes256;
use ctr::cipher::KeyInit as _;
use zeroize::Zeroizing;

use super::lane::{Lane, bytes_of};
#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::schedule::Schedule;
use super::{Kernel, MaskKey, Sign, portable};
#[cfg(target_arch = "x86_64")]
use super::{aesni, vaes, vaes512};

/// Blocks in a group. A power of two: within a group only the last byte of the
/// counter differs, so that a kernel counts with one XOR and meets no carry.
pub(super) const BLOCKS: usize = 32;

/// What a kernel makes at once.
pub(super) type Group = [u8; 16 * BLOCKS];

/// An expanded key, ready for its kernel.
pub(super) struct Stream(Engine);

/// A variant with instructions of its own is made in [`Stream::new`] only, after
/// these were detected.
enum Engine {
    #[cfg(target_arch = "x86_64")]
    VaesAvx512(Schedule),
    #[cfg(target_arch = "x86_64")]
    VaesAvx2(Schedule),
    #[cfg(target_arch = "x86_64")]
    AesNi(Schedule),
    #[cfg(target_arch = "aarch64")]
    Armv8Ce(Schedule),
    Portable(Box<Aes256>),
}

impl Stream {
    /// Expands `key` for `kernel`, or for the portable one if the machine lacks it.
    pub(super) fn new(kernel: Kernel, key: &MaskKey) -> Self {
        let key = key.expose();
        let kernel = if kernel.is_available() { kernel } else { Kernel::Portable };
        Self(match kernel {
            // SAFETY: `is_available` has just detected AES-NI; VAES implies it there.
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx512 => Engine::VaesAvx512(unsafe { aesni::expand(key) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::VaesAvx2 => Engine::VaesAvx2(unsafe { aesni::expand(key) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::AesNi => Engine::AesNi(unsafe { aesni::expand(key) }),
            // SAFETY: `is_available` has just detected NEON and its AES instructions.
            #[cfg(target_arch = "aarch64")]
            Kernel::Armv8Ce => Engine::Armv8Ce(unsafe { neon::expand(key) }),
            _ => Engine::Portable(Box::new(Aes256::new(key.into()))),
        })
    }

    /// Adds (or subtracts) the stream to `lanes`, from lane number `first` on.
    pub(super) fn apply<L: Lane>(&self, sign: Sign, first: u128, lanes: &mut [L]) {
        match sign {
            Sign::Plus => self.ragged::<L, false>(first, bytes_of(lanes)),
            Sign::Minus => self.ragged::<L, true>(first, bytes_of(lanes)),
        }
    }

    /// Cuts the lanes' memory `bytes` at the borders of groups.
    fn ragged<L: Lane, const MINUS: bool>(&self, first: u128, bytes: &mut [u8]) {
        let group = size_of::<Group>() as u128;
        let start = first * L::BYTES as u128;
        // `first` is below 2^65, so the number of a group is below 2^58.
        let (mut number, inside) = ((start / group) as u64, (start % group) as usize);
        let mut rest = bytes;
        if inside > 0 {
            let length = rest.len().min(size_of::<Group>() - inside);
            let head;
            (head, rest) = rest.split_at_mut(length);
            self.part::<L, MINUS>(number, inside, head);
            number += 1;
        }
        let (groups, tail) = rest.as_chunks_mut();
        self.groups::<L, MINUS>(number, groups);
        self.part::<L, MINUS>(number + groups.len() as u64, 0, tail);
    }

    /// Less than a group: `bytes` meet group `number` from byte `inside` on.
    fn part<L: Lane, const MINUS: bool>(&self, number: u64, inside: usize, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut group = Zeroizing::new([0; 16 * BLOCKS]);
        // The caller cut at the border of the group: the range lies inside.
        let place = inside..inside + bytes.len();
        group[place.clone()].copy_from_slice(bytes);
        self.groups::<L, MINUS>(number, core::slice::from_mut(&mut group));
        bytes.copy_from_slice(&group[place]);
    }

    /// Whole groups, of which `first` is the number of the first.
    fn groups<L: Lane, const MINUS: bool>(&self, first: u64, groups: &mut [Group]) {
        match &self.0 {
            // SAFETY: the variant says that `Stream::new` detected VAES, AVX2 and
            // AVX-512 F and BW.
            #[cfg(target_arch = "x86_64")]
            Engine::VaesAvx512(schedule) => unsafe {
                vaes512::apply::<L, MINUS>(schedule.keys(), first, groups);
            },
            // SAFETY: the variant says that `Stream::new` detected VAES and AVX2.
            #[cfg(target_arch = "x86_64")]
            Engine::VaesAvx2(schedule) => unsafe {
                vaes::apply::<L, MINUS>(schedule.keys(), first, groups);
            },
            // SAFETY: the variant says that `Stream::new` detected AES-NI.
            #[cfg(target_arch = "x86_64")]
            Engine::AesNi(schedule) => unsafe {
                aesni::apply::<L, MINUS>(schedule.keys(), first, groups);
            },
            // SAFETY: the variant says that `Stream::new` detected NEON and AES.
            #[cfg(target_arch = "aarch64")]
            Engine::Armv8Ce(schedule) => unsafe {
                neon::apply::<L, MINUS>(schedule.keys(), first, groups);
            },
            Engine::Portable(cipher) => portable::apply::<L, MINUS>(cipher, first, groups),
        }
    }
}
