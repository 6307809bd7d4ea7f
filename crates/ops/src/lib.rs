//! Operations: what is done with engines and repositories, run by people or by schedules.
//!
//! What this crate does not do: it prints nothing and parses no arguments; it reports to a
//! [`Monitor`](strongroom_repository::monitor::Monitor) and returns what happened.
//!
//! The decision that shapes it: every run leaves its trace in the journal, also a run that failed.
//!
//! Start reading at [`backup`].

pub mod audit;
mod backup;
mod cause;
pub mod config;
pub mod history;
pub mod hook;
pub mod metrics;
pub mod mount;
pub mod notify;
mod quickstart;
mod redaction;
pub mod report;
pub mod run;
pub mod status;
pub mod wal_agent;
pub mod wal_queue;
pub mod wal_receive;
pub mod words;

pub use backup::{backup, backup_part, note_failure};
pub use cause::Cause;
pub use quickstart::{Day, QuickstartError, QuickstartReport, quickstart};
pub use redaction::redacted;
