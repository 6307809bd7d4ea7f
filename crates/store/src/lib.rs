//! Where objects live: named, immutable byte strings that are created once, read whole or in part, listed, deleted.
//!
//! This crate knows nothing of what objects hold: no encryption, no packs, no journal. Adapters retry nothing and cache
//! no bytes; decorators around them do.
//!
//! The decision that shapes it: creating a name that is not there yet is atomic and durable, and nothing is ever
//! replaced ([`Store::put_if_absent`]). That is all the journal needs to order writers, and all a stolen host can
//! do to what others stored. Whoever needs more than that from a store must find another protocol.
//!
//! A workflow holds an `Arc<dyn Store>` that [`StoreUrl::open`] made: a [`LocalStore`], or an adapter to an object store
//! ([`S3Store`], [`CloudStore`]) in a [`LimitStore`] in a [`RetryStore`]. What only some stores can do is asked for by
//! [`Store::history`], [`Store::retention`] and [`Store::archive`]. Everything is synchronous: the adapters wait on a
//! runtime of their own ([`aws::block_on`]). [`MemoryStore`], [`RecordStore`] (which calls were made?) and [`FaultStore`] (what if this one fails?) serve tests;
//! [`conformance::suite`] is what every store must pass. Start reading at [`Store`], then [`local`] and [`s3`].
//!
//! The feature `clouds`, which is on by default, brings the adapters: who only decodes, as fuzzing does, need not build
//! the clouds' own libraries.
//!
//! Implements format-spec's rules on stores (put-if-absent, names).

#[cfg(feature = "clouds")]
pub mod aws;
mod backoff;
#[cfg(feature = "clouds")]
mod billing;
mod capability;
#[cfg(feature = "clouds")]
pub mod cloud;
pub mod conformance;
mod decorators;
mod error;
pub mod local;
mod memory;
mod name;
mod options;
#[cfg(feature = "clouds")]
pub mod s3;
mod store;
#[cfg(feature = "clouds")]
mod url;

pub use backoff::Backoff;
pub use capability::{Archive, History, LockMode, ObjectLock, Retention, ThawState, Version};
#[cfg(feature = "clouds")]
pub use cloud::CloudStore;
pub use decorators::{
    CacheOptions, CacheStore, Call, Damage, Fault, FaultStore, HotStore, LimitStore, Limits, ManualTimer,
    RecordStore, RetryPolicy, RetryStore, SystemTimer, Timer, When,
};
pub use error::{CredentialsReason, NotAStoreReason, Operation, StoreError, UrlReason, with_causes};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{NameReason, OBJECT_NAME_MAX_BYTES, ObjectName};
pub use options::StoreOptions;
#[cfg(feature = "clouds")]
pub use s3::S3Store;
pub use store::{ObjectInfo, PutOutcome, Store};
#[cfg(feature = "clouds")]
pub use url::StoreUrl;
