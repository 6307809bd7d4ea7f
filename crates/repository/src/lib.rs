//! The repository: open it, back up into it, restore from it, check it.
//!
//! What this crate does not do: it knows no database and no file system (engines do), prints nothing, and reads
//! neither environment nor configuration.
//!
//! The decision that shapes it: *the journal is the only thing that changes what a repository is*. All else is
//! immutable content under create-only names, and counts once a journal entry names it. So there are no locks,
//! a crash leaves garbage and never damage, and a backup commits by one entry, last.
//!
//! Data flows, on backup: producer → [`backup`] lanes (chunk, hash, look up) → frames (compress, seal) → packs
//! → store → index → journal entry. On restore: snapshot → [`tree`] → [`restore`] plan → [`reader`] (fetch, open,
//! verify) → target. [`check`] goes the same ways and writes nothing it checks.
//!
//! Start reading at [`Repository`] and [`state`]. Implements `format-spec/journal.md` and `format-spec/tree.md`.

pub mod administration;
pub mod backup;
mod base_keys;
mod buffers;
pub mod cache;
pub mod check;
pub mod clock;
mod compact;
pub mod compare;
mod copier;
pub mod copy;
pub mod delta;
mod entries;
mod error;
mod gap;
pub mod history;
pub mod holds;
mod index_writer;
mod init;
mod journal;
mod keyring;
pub mod memory;
pub mod monitor;
mod names;
mod new_data_key;
mod object_lock;
mod open;
#[doc(hidden)]
pub mod pack_writer;
#[doc(hidden)]
pub mod parity;
pub mod prune;
pub mod reader;
pub mod repair;
mod repository;
pub mod restore;
pub mod retention;
pub mod select;
pub mod share;
mod stage;
pub mod state;
mod statements;
pub mod statistics;
pub mod thaw;
pub mod tree;
pub mod wal;
#[doc(hidden)]
pub mod zstd;

pub use error::RepositoryError;

/// The target of tracing's spans that are stages: what a run spends its time on.
pub const STAGE_TARGET: &str = "strongroom::stage";

pub use init::{InitOptions, Made, init};
pub use repository::{OpenOptions, Repository};
pub use strongroom_store::with_causes;
