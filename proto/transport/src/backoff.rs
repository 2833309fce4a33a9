//! Exponential back-off with full jitter: the n-th delay is uniform in
//! `[0, min(cap, base * 2^n)]`, so that nodes which lost one aggregator do not return in step.
//! (Full jitter as in Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.)
//!
//! It knows no clock and draws from the generator that it is given.

use std::time::Duration;

use rand_core::RngCore;

/// The state of one retried operation.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays that start below `base` and never exceed `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// Counts a failure and returns how long to wait.
    pub fn next_delay(&mut self, rng: &mut (impl RngCore + ?Sized)) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        // 53 random bits: uniform in [0, 1).
        let fraction = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        ceiling.mul_f64(fraction)
    }

    /// The operation worked: the next failure starts over.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

impl Default for Backoff {
    /// One second at first, one minute at most.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// A generator that returns one number.
    struct Constant(u64);

    impl RngCore for Constant {
        fn next_u32(&mut self) -> u32 {
            self.0 as u32
        }
        fn next_u64(&mut self) -> u64 {
            self.0
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0 as u8);
        }
    }

    #[test]
    fn ceilings_double_up_to_the_cap_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut highest = Constant(u64::MAX);
        for ceiling in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let delay = backoff.next_delay(&mut highest).as_secs_f64();
            assert!((ceiling - 1e-6..=ceiling).contains(&delay), "{delay} of {ceiling}");
        }
        for _ in 0..100 {
            assert!(backoff.next_delay(&mut highest) <= Duration::from_secs(60));
        }
        assert_eq!(backoff.failures(), 108);
        backoff.reset();
        assert!(backoff.next_delay(&mut highest) <= Duration::from_secs(1));
        assert_eq!(backoff.next_delay(&mut Constant(0)), Duration::ZERO);
    }

    #[test]
    fn jitter_covers_the_whole_range_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut quarters = [0_u32; 4];
        for _ in 0..4000 {
            let mut backoff = Backoff::default();
            let delay = backoff.next_delay(&mut rng).as_secs_f64();
            quarters[(delay * 4.0) as usize] += 1;
        }
        // 1000 expected in each, standard deviation 27.
        assert!(quarters.iter().all(|n| (850..1150).contains(n)), "{quarters:?}");
    }
}
