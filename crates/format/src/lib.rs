//! Bytes ↔ types of every object that a Strongroom repository stores.
//!
//! What this crate does not do: no I/O, no clock, no randomness, no cryptography. It never decides whether
//! a signature holds or what a hash is; it says which bytes are to be hashed, sealed and signed.
//!
//! The decision that shapes it: *a decoder is strict*. Every structure has exactly one encoding, lengths are
//! checked before anything is allocated, and a field that a reader does not know is refused unless the format
//! says it may be ignored. So what two readers accept is the same, and an object whose fields are all known
//! re-encodes to the same bytes.
//!
//! Data flows through it twice a backup: [`Node`](node::Node)s and [`Footer`](pack::Footer)s are encoded while
//! packs are written, and a [`JournalEntry`](entry::JournalEntry) with its [`Manifest`](manifest::Manifest) commits them.
//!
//! Start reading at [`header`] and [`pack`]. Implements `format-spec/objects.md` and `format-spec/wal.md`.

pub mod body;
pub mod cbor;
pub mod checkpoint;
pub mod config;
pub mod entry;
mod error;
pub mod expire;
pub mod header;
mod ids;
pub mod index;
pub mod key_object;
mod little_endian;
pub mod manifest;
pub mod node;
pub mod pack;
mod padme;
pub mod parity;
pub mod part;
pub mod path;
pub mod policy;
mod reference;
pub mod registry;
pub mod tree_entry;
pub mod wal;
pub mod wal_file;
pub mod zstd_frame;

pub use error::FormatError;
pub use ids::*;
pub use padme::padme;
