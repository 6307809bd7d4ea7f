//! ClickHouse, over its HTTP interface: an entry a partition, in Native format, and what makes every table as SQL.
//!
//! What this module does not do: it reads no files of the server, and it knows no transactions, because ClickHouse has none
//! over several tables. Each partition is read from one set of parts, which never change; the snapshot says which.
//!
//! The decision that shapes it: rows are read in the order in which the server keeps them (its sorting key, and then as they
//! were inserted), by one thread. So the same rows give the same bytes whatever was merged since, and what parts say of
//! themselves tells that a partition need not be read at all.
//!
//! Data flows: the catalog says what there is, partitions stream through a scanner of blocks into the repository, and
//! [`Tables`] gives them back. Start reading at [`ClickHouse`].

mod backup;
mod catalog;
mod caveats;
mod conflict;
mod ddl;
mod dump;
mod error;
mod facts;
mod fingerprint;
mod followed;
mod joined;
mod layout;
mod load;
pub mod native;
mod restore;
mod scratch;
mod session;
mod verify;
mod wanted;

pub use backup::ClickHouse;
pub use catalog::Selection;
pub use error::ClickHouseError;
pub(crate) use facts::ENGINE;
pub(crate) use joined::join;
pub use restore::{RestoreSwitches, Restored, Tables};
pub use verify::{Place, Verification};
pub use wanted::Wanted;
