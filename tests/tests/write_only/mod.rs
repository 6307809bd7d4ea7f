//! The write-only role: what `write_only_kms.rs` and `write_only_x25519.rs` both demonstrate, each in its own way of
//! keeping reading from a host that writes.
//!
//! - [`estate`]: a repository with its admin and hosts, each with the very policies of `deploy/iam/`.
//! - [`thief`]: what somebody can do who stole a host, with its credentials and this project's own crates.
//! - [`reading`], [`store`], [`forging`], [`poison`], [`keys`], [`roles`]: what is tried, one concern a function, and
//!   what comes of it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod estate;
mod fixtures;
pub mod forging;
pub mod keys;
pub mod poison;
pub mod reading;
pub mod roles;
pub mod store;
pub mod thief;

/// How reading is kept from a host that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the conditions of its role's policy: one KMS key wraps everything.
    Kms,
    /// By an X25519 key of its own, for which only what it needs is wrapped; its role has no right on any KMS key.
    X25519,
}
