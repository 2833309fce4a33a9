//! Which records are held out for evaluation: a matter of the record (or its person) alone.
//!
//! A number is taken from a record's content; the smallest numbers are held out. So adding a record
//! changes the place of no other, equal records go together, a person's records stay together, and what
//! one job holds out another does not train on. No secret, and no randomness that privacy rests on.

/// FNV-1a over 64 bits (Fowler, Noll, Vo) with a final mix, as a fraction of 2^32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn finish(self) -> u32 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}

/// Whether what has this place is held out when `share` of all is.
pub(crate) fn is_held_out(place: u32, share: f64) -> bool {
    f64::from(place) < share * 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_about_what_was_asked_for_and_nested() {
        let places: Vec<u32> = (0..20_000_u32)
            .map(|i| {
                let mut place = Place::new();
                place.add(&i.to_le_bytes());
                place.finish()
            })
            .collect();
        for share in [0.0, 0.1, 0.2, 0.5] {
            let held = places.iter().filter(|p| is_held_out(**p, share)).count() as f64 / 20_000.0;
            assert!((held - share).abs() < 0.01, "{share} {held}");
        }
        assert!(places.iter().all(|p| !is_held_out(*p, 0.1) || is_held_out(*p, 0.2)));
    }
}
