//! Which instructions this machine has for the mask stream, asked at run time and
//! remembered. It knows no key and no vector of a round.

use core::fmt;
use std::sync::OnceLock;

use super::stream::Stream;
use super::{Lane, MaskKey, Sign};

/// An implementation of the mask stream. All give the same lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// x86-64: four blocks in one instruction (VAES with AVX-512).
    VaesAvx512,
    /// x86-64: two blocks in one instruction (VAES with AVX2).
    VaesAvx2,
    /// x86-64: AES-NI.
    AesNi,
    /// aarch64: the ARMv8 cryptographic extension.
    Armv8Ce,
    /// The `aes` and `ctr` crates: every machine, constant time.
    Portable,
}

impl Kernel {
    /// All of them, the quickest first.
    const ALL: [Self; 5] =
        [Self::VaesAvx512, Self::VaesAvx2, Self::AesNi, Self::Armv8Ce, Self::Portable];

    /// For `--version`, logs and benches.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VaesAvx512 => "vaes-avx512",
            Self::VaesAvx2 => "vaes-avx2",
            Self::AesNi => "aes-ni",
            Self::Armv8Ce => "armv8-ce",
            Self::Portable => "portable",
        }
    }

    /// The kernels that run here, the quickest first; [`Kernel::Portable`] is the last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// Whether the processor (and the operating system) has the instructions. The
    /// standard library remembers the answer; to ask again costs a load.
    pub(super) fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::VaesAvx512 => {
                Self::VaesAvx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(target_arch = "x86_64")]
            Self::VaesAvx2 => {
                Self::AesNi.is_available()
                    && is_x86_feature_detected!("vaes")
                    && is_x86_feature_detected!("avx2")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AesNi => is_x86_feature_detected!("aes"),
            #[cfg(target_arch = "aarch64")]
            Self::Armv8Ce => {
                std::arch::is_aarch64_feature_detected!("neon")
                    && std::arch::is_aarch64_feature_detected!("aes")
            }
            Self::Portable => true,
            #[allow(unreachable_patterns, reason = "which kernels exist depends on the target")]
            _ => false,
        }
    }

    /// Known answer at the first use: a kernel that disagrees with the portable one
    /// on this processor is passed over, since one wrong lane spoils a sum unseen.
    fn agrees_with_portable(self) -> bool {
        fn agrees<L: Lane>(kernel: Kernel, sign: Sign) -> bool {
            let key = MaskKey::copied(&[0x5a; 32]);
            // A ragged head, whole groups across block 2^32, a ragged tail.
            let first = (1u128 << 36) / L::BYTES as u128 - 1001;
            let (mut lanes, mut expected) = ([L::default(); 2003], [L::default(); 2003]);
            Stream::new(kernel, &key).apply(sign, first, &mut lanes);
            Stream::new(Kernel::Portable, &key).apply(sign, first, &mut expected);
            lanes == expected
        }
        self == Self::Portable
            || [Sign::Plus, Sign::Minus]
                .into_iter()
                .all(|sign| agrees::<u16>(self, sign) && agrees::<u32>(self, sign))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernel in use: the quickest that this machine has and that passes its known
/// answers. Found at the first call, then remembered.
#[must_use]
pub fn kernel() -> Kernel {
    static IN_USE: OnceLock<Kernel> = OnceLock::new();
    *IN_USE.get_or_init(|| {
        Kernel::available()
            .into_iter()
            .find(|kernel| kernel.agrees_with_portable())
            .unwrap_or(Kernel::Portable)
    })
}
