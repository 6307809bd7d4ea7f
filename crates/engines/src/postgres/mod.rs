//! PostgreSQL: each database as `pg_dump` writes it, table by table.
//!
//! PostgreSQL's own programs do what only they know: what a dump holds, and how to reach a server. What they write is taken
//! apart as it streams ([`archive`]), so that a snapshot has an entry a table, and put together again for `pg_restore`.

pub mod archive;
mod assertion;
mod backup;
mod comparison;
mod conflict;
mod dump;
mod error;
mod facts;
mod layout;
pub mod managed;
pub mod physical;
mod process;
mod programs;
mod receive;
mod restore;
mod scratch;
mod selection;
mod session;
mod streams;
mod target;
mod verify;

pub use assertion::Assertion;
pub use backup::{Limits, Postgres, Scope};
pub use error::PostgresError;
pub use programs::Programs;
pub use receive::{Receiver, ServerIdentity, Streaming};
pub use restore::{Archives, Destination, RestoreSwitches};
pub use selection::Wanted;
pub use target::Target;
pub use verify::{Place, Verification};
