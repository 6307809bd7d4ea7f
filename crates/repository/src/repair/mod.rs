//! Repair: what is damaged is mended where something says how, and else said to be gone, so that nothing relies on it.
//!
//! Nothing is ever deleted here, and no pack is taken for gone because a listing lacked it: what is asked for by its name
//! and is not there is.

pub mod index;
mod keys;
pub mod packs;
pub mod snapshots;
pub mod versions;

/// The tag of a snapshot of which something cannot be read. Backups take nothing over from it.
pub const DAMAGED_TAG: &str = "damaged";
