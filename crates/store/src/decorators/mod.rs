//! Stores around stores: each adds one thing, and passes everything else on.
//!
//! A client stacks them as `CacheStore<RetryStore<LimitStore<adapter>>>`: what the cache has costs no request, and
//! every attempt of a retry is charged to the limits.

use std::io;

use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::store::Store;

mod cache;
mod fault;
mod hot;
mod limit;
mod record;
mod retry;
mod timer;

pub use cache::{CacheOptions, CacheStore};
pub use fault::{Damage, Fault, FaultStore, When};
pub use hot::HotStore;
pub use limit::{LimitStore, Limits};
pub use record::{Call, RecordStore};
pub use retry::{RetryPolicy, RetryStore};
pub use timer::{ManualTimer, SystemTimer, Timer};

/// For a capability that the store behind has not: callers see none, and so ask for nothing.
fn lacking(store: &dyn Store, operation: Operation, name: &ObjectName) -> StoreError {
    let (object, location) = (name.to_string(), store.location());
    StoreError::Io { operation, object, location, source: io::ErrorKind::Unsupported.into() }
}
