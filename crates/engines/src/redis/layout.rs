//! Where what lies in a snapshot.
//!
//! ```text
//! databases/N      keys in the order of their bytes, as they stand in a dump
//! functions        libraries of functions, as they stand in a dump
//! aux              what the server wants to be known of the dump, but for what changes by itself
//! modules-before   what modules keep beside keys, to stand before them
//! modules-after    and behind them
//! ```
//!
//! Of a cluster that several workers read, worker I has the keys of its masters in `shards/I/databases/N`.

use strongroom_repository::share::Share;

pub(super) const FUNCTIONS: &str = "functions";
pub(super) const AUX: &str = "aux";
pub(super) const MODULES_BEFORE: &str = "modules-before";
pub(super) const MODULES_AFTER: &str = "modules-after";

/// The keys of a database; of those that a worker reads, if there are several.
pub(super) fn database(number: u64, share: Option<Share>) -> String {
    match share {
        Some(share) => format!("shards/{}/databases/{number}", share.number),
        None => format!("databases/{number}"),
    }
}
