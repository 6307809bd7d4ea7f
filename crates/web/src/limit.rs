//! How often somebody may guess: by address and by all together, within a minute. Wrong guesses alone count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// Of one address.
const OF_ADDRESS: u32 = 5;
/// Of all: who has many addresses guesses no faster.
const OF_ALL: u32 = 100;
/// Addresses that are remembered; more are those of somebody who has many, and the bound of all holds.
const ADDRESSES: usize = 4096;

/// Guesses of a minute that began then.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    wrong: u32,
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= WINDOW
    }

    fn wait(&self, most: u32, now: Instant) -> Option<Duration> {
        (self.wrong >= most && !self.is_over(now)).then(|| WINDOW - now.duration_since(self.began))
    }

    fn count(&mut self, now: Instant) {
        if self.is_over(now) {
            *self = Self { began: now, wrong: 0 };
        }
        self.wrong = self.wrong.saturating_add(1);
    }
}

/// Wrong guesses of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    addresses: HashMap<IpAddr, Window>,
    all: Option<Window>,
}

impl Limit {
    /// How long this address has to wait before it may guess.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let own = self.addresses.get(&network(address)).and_then(|window| window.wait(OF_ADDRESS, now));
        own.max(self.all.and_then(|all| all.wait(OF_ALL, now)))
    }

    /// It guessed wrong.
    pub(crate) fn wrong(&mut self, address: IpAddr, now: Instant) {
        self.all.get_or_insert(Window { began: now, wrong: 0 }).count(now);
        if self.addresses.len() >= ADDRESSES {
            self.addresses.retain(|_, window| !window.is_over(now));
        }
        let address = network(address);
        if self.addresses.len() < ADDRESSES || self.addresses.contains_key(&address) {
            self.addresses.entry(address).or_insert(Window { began: now, wrong: 0 }).count(now);
        }
    }
}

/// Of IPv6 the network of 64 bits: one host has as many addresses in it as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_and_others_do_not() {
        let mut limit = Limit::default();
        let now = Instant::now();
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..OF_ADDRESS {
            assert_eq!(limit.wait(one, now), None);
            limit.wrong(one, now);
        }
        assert_eq!(limit.wait(one, now + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(limit.wait(other, now), None);
        assert_eq!(limit.wait(one, now + WINDOW), None);
        limit.wrong(one, now + WINDOW);
        assert_eq!(limit.wait(one, now + WINDOW), None);
    }

    #[test]
    fn who_has_many_addresses_guesses_no_faster() {
        let mut limit = Limit::default();
        let now = Instant::now();
        for address in 0..u32::try_from(ADDRESSES).unwrap() + 50 {
            limit.wrong(IpAddr::V4(address.into()), now);
        }
        assert!(limit.addresses.len() <= ADDRESSES);
        assert_eq!(limit.wait("192.0.2.1".parse().unwrap(), now), Some(WINDOW));
        let mut limit = Limit::default();
        for last in 0..OF_ADDRESS {
            limit.wrong(format!("2001:db8::{last}").parse().unwrap(), now);
        }
        assert!(limit.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert!(limit.wait("2001:db8:0:1::1".parse().unwrap(), now).is_none());
    }
}
