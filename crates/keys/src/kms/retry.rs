//! How long a call is tried again.

use std::sync::Arc;
use std::time::Duration;

use strongroom_store::{Backoff, SystemTimer, Timer};

use super::KmsTrouble;
use crate::random::{self, OsRandom, Random};

/// Bounds on trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KmsRetryPolicy {
    /// Longest wait before the second attempt; it doubles with each further one.
    pub first_delay: Duration,
    /// Longest wait there is.
    pub longest_delay: Duration,
    /// Most attempts while the service answers, but has no time.
    pub busy_attempts: u32,
    /// No such attempt begins later than this after the first.
    pub busy_deadline: Duration,
    /// Most attempts while there is no answer.
    pub unreachable_attempts: u32,
    /// No such attempt begins later than this after the first.
    pub unreachable_deadline: Duration,
}

impl Default for KmsRetryPolicy {
    /// 200 ms to 15 s; 8 attempts within 60 s when throttled, 5 within 10 s when nobody answers.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(15),
            busy_attempts: 8,
            busy_deadline: Duration::from_secs(60),
            unreachable_attempts: 5,
            unreachable_deadline: Duration::from_secs(10),
        }
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) trouble: KmsTrouble,
    pub(super) again: Again,
    /// What the service said, for finding out which of two keys it meant.
    pub(super) words: String,
}

/// Whether another attempt may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// No.
    Never,
    /// One more: the SDK has learnt the service's time from the answer.
    Once,
    /// The service answers, and has no time now.
    WhenServed,
    /// There is no answer.
    WhenReached,
}

/// Tries again after a random part of a wait that grows ("full jitter"), so that many hosts that were refused
/// together do not come back together.
pub(super) struct Retry {
    policy: KmsRetryPolicy,
    timer: Arc<dyn Timer>,
    random: Arc<dyn Random>,
}

impl Retry {
    /// With the system's clock and randomness.
    pub(super) fn new(policy: KmsRetryPolicy) -> Self {
        Self { policy, timer: Arc::new(SystemTimer::new()), random: Arc::new(OsRandom) }
    }

    /// The first success, or the last failure.
    pub(super) fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let start = self.timer.elapsed();
        let mut attempts = 0;
        loop {
            let mut failure = match attempt() {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            attempts += 1;
            let policy = &self.policy;
            let (most, deadline) = match failure.again {
                Again::Never => (0, Duration::ZERO),
                Again::Once => (2, policy.busy_deadline),
                Again::WhenServed => (policy.busy_attempts, policy.busy_deadline),
                Again::WhenReached => (policy.unreachable_attempts, policy.unreachable_deadline),
            };
            let delay = if failure.again == Again::Once { Duration::ZERO } else { self.delay(attempts) };
            let spent = self.timer.elapsed().saturating_sub(start);
            if attempts >= most || spent.saturating_add(delay) > deadline {
                if let KmsTrouble::Throttled { attempts: tried } = &mut failure.trouble {
                    *tried = attempts;
                }
                return Err(failure);
            }
            let delay_ms = delay.as_millis();
            tracing::warn!(attempt = attempts, delay_ms, error = %failure.trouble, "asking the KMS again");
            self.timer.sleep(delay);
        }
    }

    fn delay(&self, failures: u32) -> Duration {
        let backoff = Backoff { first: self.policy.first_delay, longest: self.policy.longest_delay };
        // Without randomness hosts may come back together: a pity, and no reason to fail.
        let drawn = random::array(self.random.as_ref()).map_or(u64::MAX / 2, u64::from_le_bytes);
        backoff.delay(failures, drawn)
    }
}

#[cfg(test)]
mod tests {
    use strongroom_store::ManualTimer;

    use super::*;
    use crate::random::SeededRandom;

    fn retry(timer: &Arc<ManualTimer>) -> Retry {
        let random = Arc::new(SeededRandom::new(b"jitter"));
        Retry { policy: KmsRetryPolicy::default(), timer: Arc::<ManualTimer>::clone(timer), random }
    }

    fn failure(again: Again) -> Failure {
        Failure { trouble: KmsTrouble::Throttled { attempts: 1 }, again, words: String::new() }
    }

    /// How often a call that always fails so is tried when each attempt takes `each`, and how long that takes.
    fn attempts(again: Again, each: Duration) -> (u32, Duration) {
        let timer = Arc::new(ManualTimer::new());
        let mut count = 0;
        let result = retry(&timer).run(|| -> Result<(), Failure> {
            count += 1;
            timer.sleep(each);
            Err(failure(again))
        });
        assert_eq!(result.unwrap_err().trouble, KmsTrouble::Throttled { attempts: count });
        (count, timer.elapsed())
    }

    #[test]
    fn attempts_are_bounded() {
        assert_eq!(attempts(Again::Never, Duration::ZERO), (1, Duration::ZERO));
        assert_eq!(attempts(Again::Once, Duration::ZERO), (2, Duration::ZERO));
        let (count, took) = attempts(Again::WhenServed, Duration::ZERO);
        assert_eq!(count, 8);
        assert!(took > Duration::ZERO && took <= Duration::from_millis(200 * 127), "{took:?}");
        let (count, took) = attempts(Again::WhenReached, Duration::ZERO);
        assert_eq!(count, 5);
        assert!(took > Duration::ZERO && took <= Duration::from_secs(3), "{took:?}");
    }

    #[test]
    fn deadlines_hold_when_attempts_are_slow() {
        let (count, took) = attempts(Again::WhenServed, Duration::from_secs(25));
        assert!((2..=3).contains(&count), "{count}");
        assert!(took <= Duration::from_secs(60 + 25), "{took:?}");
        assert_eq!(attempts(Again::WhenReached, Duration::from_secs(11)).0, 1);
    }

    #[test]
    fn a_success_ends_it() {
        let timer = Arc::new(ManualTimer::new());
        let mut count = 0;
        let answer = retry(&timer).run(|| {
            count += 1;
            if count < 4 { Err(failure(Again::WhenServed)) } else { Ok(count) }
        });
        assert_eq!(answer.unwrap(), 4);
    }

    #[test]
    fn waits_grow_and_are_capped_and_random() {
        let retry = retry(&Arc::new(ManualTimer::new()));
        for (failures, longest_ms) in [(1, 200), (2, 400), (5, 3200), (8, 15_000), (40, 15_000)] {
            let delays: Vec<Duration> = (0..64).map(|_| retry.delay(failures)).collect();
            let longest = Duration::from_millis(longest_ms);
            assert!(delays.iter().all(|delay| *delay <= longest), "{failures}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay > longest / 2), "{failures}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay < longest / 2), "{failures}: {delays:?}");
        }
    }
}
