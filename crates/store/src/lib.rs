//! Where objects live: named, immutable byte strings that are created once, read whole or in part, listed, deleted.
//!
//! This crate knows nothing of what objects hold: no encryption, no packs, no journal. It retries nothing and caches
//! no bytes.
//!
//! The decision that shapes it: creating a name that is not there yet is atomic and durable, and nothing is ever
//! replaced ([`Store::put_if_absent`]). That is all the journal needs to order writers, and all a stolen host can
//! do to what others stored. Whoever needs more than that from a store must find another protocol.
//!
//! A workflow holds an `Arc<dyn Store>`: a [`LocalStore`] or an adapter to an object store, wrapped in decorators.
//! [`MemoryStore`], [`RecordStore`] (which calls were made?) and [`FaultStore`] (what if this one fails?) serve tests;
//! [`conformance::suite`] is what every store must pass. Start reading at [`Store`], then [`local`].
//!
//! Implements format-spec's rules on stores (put-if-absent, names).

pub mod conformance;
mod error;
mod fault;
pub mod local;
mod memory;
mod name;
mod record;
mod store;

pub use error::{NotAStoreReason, Operation, StoreError};
pub use fault::{Damage, Fault, FaultStore, When};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{NameReason, OBJECT_NAME_MAX_BYTES, ObjectName};
pub use record::{Call, RecordStore};
pub use store::{ObjectInfo, PutOutcome, Store};
