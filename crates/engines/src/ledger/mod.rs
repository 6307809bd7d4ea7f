//! The engine `ledger`: the data directory of a node, its chain, wallets and receipts, as of one moment.
//!
//! SQLite files are read through a transaction ([`sqlite`]), folders of RocksDB and LevelDB by their manifest ([`lsm`]), and all
//! else as [`files`](crate::files) reads it. [`moment`] pins the databases before anything is read, and knows whether anything
//! was written meanwhile; [`chain`] and [`node_metadata`] tell the height and the head; [`exchange`] puts a restored directory in
//! the place of the one that is there.

mod backup;
mod chain;
mod error;
mod exchange;
mod facts;
mod in_use;
mod kept;
pub mod lsm;
mod moment;
mod node_metadata;
mod restore;
mod scan;
mod sqlite;
mod verify;

pub use backup::{IntegrityCheck, Ledger};
pub use chain::ChainOptions;
pub use error::LedgerError;
pub use exchange::Leftover;
pub use facts::{BrokenLink, ChainFacts, Facts, Links, Moment, SqliteFacts, StoreFacts};
pub use restore::{InPlace, Restored, restore_in_place};
pub use verify::verify;

/// Its name.
pub const ENGINE: &str = "ledger";
