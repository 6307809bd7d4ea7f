//! What the end-to-end tests stand on: real servers and realistic data.
//!
//! It tests nothing itself (the tests are in `tests/tests/`, one file a subject), and knows nothing of
//! Strongroom's crates: the tests drive the `strongroom` binary as an operator does, and the race
//! (`benches/race`) takes its servers from here.
//!
//! Servers are owned values: [`services::postgres::Postgres::start`] gives a server of its own to whoever asks,
//! on a free loopback port with its data in a temporary folder, and dropping it stops it. Object stores and KMS can
//! also be shared by the tests of a process ([`services::minio::Minio::shared`]), each with buckets and keys of its
//! own, so none depends on the order in which they run. [`proxy`] makes them fail, or refuse. Where a server is not to
//! be had, `start` gives `None`, the test returns early, and [`services::unavailable`] sees to it that this is counted
//! as skipped and not as passed.
//!
//! Start reading at [`sandbox`], where every test of the binary begins, then [`services`] and [`dump`].

#![allow(clippy::panic, reason = "what tests stand on fails as they do")]

pub mod archiving;
pub mod binary;
pub mod closed_port;
pub mod dump;
pub mod http;
pub mod mount;
pub mod noise;
pub mod patience;
pub mod proxy;
pub mod sandbox;
pub mod served;
pub mod services;
pub mod sinks;
pub mod tree;
