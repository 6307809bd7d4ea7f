//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// A range that doubles with each failure, of which any moment is taken: many that failed together do not come back together.
/// That is the "full jitter" of <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest of all.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many failures, at least one, with a number that was drawn at random.
    #[must_use]
    pub fn delay(&self, failures: u32, drawn: u64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(doubled).min(self.longest);
        let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(longest_ns.checked_add(1).map_or(longest_ns, |range| drawn % range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_doubles_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_nanos(100), longest: Duration::from_nanos(350) };
        let most = |failures| (0..=1000).map(|drawn| backoff.delay(failures, drawn)).max().unwrap();
        let ns = [1, 2, 3, 40].map(|failures| most(failures).as_nanos());
        assert_eq!(ns, [100, 200, 350, 350]);
        assert_eq!(backoff.delay(1, 101), Duration::ZERO);
        let wide = Backoff { first: Duration::MAX, longest: Duration::MAX };
        assert_eq!(wide.delay(1, 5), Duration::from_nanos(u64::MAX));
    }
}
