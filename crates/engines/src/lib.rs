//! Engines: each knows how to read one kind of data consistently, and how to give it back.
//!
//! What this crate does not do: engines know nothing of packs or stores. They write entries and named streams
//! into a [`Sink`](strongroom_repository::backup::Sink), and print nothing.
//!
//! The decision that shapes it: an engine either hands over everything it was asked for, or fails the whole run.
//! What could not be read of a tree of files is counted and named; a stream that ends badly is never kept.
//!
//! Data flows: engine → lane of the sink → repository. Start reading at [`Engine`], then [`files`].

pub mod clickhouse;
mod command;
mod engine;
pub mod files;
mod fingerprint;
pub mod http;
mod join;
pub mod ledger;
pub mod opensearch;
mod patient_reader;
mod patient_writer;
mod percent;
pub mod postgres;
pub mod redis;
#[cfg(feature = "clouds")]
pub mod s3;
mod side_by_side;
mod stdin;
mod stop;
mod stored;
mod verdict;
pub mod wal_segment;

pub use command::{Command, CommandStream};
pub use engine::{Engine, EngineError};
pub use join::{JoinError, commit};
pub use stdin::Stdin;
pub use stored::part as path_part;
pub use verdict::Verdict;
