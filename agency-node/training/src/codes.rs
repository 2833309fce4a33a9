//! Small whole numbers in as few bytes each as the largest one needs.
//!
//! A category of a dozen values takes one byte per record and not four: of three million records and
//! ten categories that is 30 MB instead of 120. Knows no feature.

/// A growing list of codes, each below a limit that is known beforehand, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Limit up to 255.
    One(Vec<u8>),
    /// Limit up to 65,535.
    Two(Vec<u16>),
    /// Any other.
    Four(Vec<u32>),
}

impl Codes {
    /// No codes yet; all will be below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        match limit {
            0..=0xff => Self::One(Vec::new()),
            0x100..=0xffff => Self::Two(Vec::new()),
            _ => Self::Four(Vec::new()),
        }
    }

    /// Appends a code. One that does not fit counts as none.
    pub(crate) fn push(&mut self, code: Option<u32>) {
        match self {
            Self::One(codes) => codes.push(fit(code, u8::MAX)),
            Self::Two(codes) => codes.push(fit(code, u16::MAX)),
            Self::Four(codes) => codes.push(fit(code, u32::MAX)),
        }
    }

    /// A code; `None` where there is none.
    pub(crate) fn get(&self, at: usize) -> Option<u32> {
        match self {
            Self::One(codes) => codes.get(at).filter(|c| **c != u8::MAX).map(|c| u32::from(*c)),
            Self::Two(codes) => codes.get(at).filter(|c| **c != u16::MAX).map(|c| u32::from(*c)),
            Self::Four(codes) => codes.get(at).filter(|c| **c != u32::MAX).copied(),
        }
    }

    /// Number of codes, those that are none included.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(codes) => codes.len(),
            Self::Two(codes) => codes.len(),
            Self::Four(codes) => codes.len(),
        }
    }

    /// Whether nothing has been appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back memory that growing took in advance.
    pub(crate) fn shrink(&mut self) {
        match self {
            Self::One(codes) => codes.shrink_to_fit(),
            Self::Two(codes) => codes.shrink_to_fit(),
            Self::Four(codes) => codes.shrink_to_fit(),
        }
    }
}

/// The code in fewer bytes; the largest number stands for none.
fn fit<T: TryFrom<u32>>(code: Option<u32>, none: T) -> T {
    code.and_then(|code| T::try_from(code).ok()).unwrap_or(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_whatever_the_width() {
        for (limit, bytes) in [(2, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4)] {
            let mut codes = Codes::new(limit);
            let last = limit as u32 - 1;
            [Some(0), None, Some(last)].into_iter().for_each(|code| codes.push(code));
            codes.shrink();
            assert_eq!([0, 1, 2, 3].map(|i| codes.get(i)), [Some(0), None, Some(last), None]);
            let found = match codes {
                Codes::One(_) => 1,
                Codes::Two(_) => 2,
                Codes::Four(_) => 4,
            };
            assert_eq!(found, bytes, "{limit}");
        }
    }
}
