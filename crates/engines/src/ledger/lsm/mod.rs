//! Databases of LevelDB and RocksDB: folders of tables that are written once, a manifest that says which of them count, and
//! logs of what is in no table yet.
//!
//! [`records`] and [`manifest`] decode; [`store`] pins a folder as it is at one moment.

pub mod manifest;
pub mod records;
pub(super) mod store;
