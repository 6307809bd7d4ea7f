//! Proxies that make a server behave as the real one does on a bad day, or to somebody with fewer rights.
//!
//! - [`clock::ClockProxy`] has another time.
//! - [`delay::DelayProxy`] answers later.
//! - [`fault::FaultProxy`] refuses, cuts, shortens and forgets, and counts the requests.
//! - [`iam::IamProxy`] stands for AWS IAM in front of servers that let everybody do everything.
//!
//! They can stand in a row: each is made of the address of what is behind it.

pub mod clock;
pub mod delay;
pub mod fault;
pub mod iam;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test that panicked with the lock held fails by itself; the others go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
