//! Buckets of S3, MinIO and others that speak their language.
//!
//! What this module does not do: write to the bucket that is backed up, take ACLs (buckets whose owner is not everything's
//! owner are rare by now), or make a bucket.
//!
//! The decision that shapes it: the list decides. One pass over it goes beside the parent snapshot's entries, in the same
//! order ([`order`]); what has the same ETag, version, size and date as then is not read. An object is an entry whose path is
//! its key ([`key`]), with what belongs to it in an extended attribute ([`attributes`]); older versions and delete markers
//! lie below it.
//!
//! Data flows on backup: pages of the list ([`listing`], [`listed`]) → the order of the tree → unchanged, or asked for ahead
//! by many threads ([`ahead`], [`read`]) → the lane, in order ([`backup`]). Start reading at [`Bucket`].

mod ahead;
mod attributes;
mod backup;
mod configuration;
mod error;
mod facts;
mod key;
mod listed;
mod listing;
mod mirror;
mod order;
mod ranges;
mod read;
mod restore;
mod selection;
mod session;
mod shard;
mod verify;
mod write;

pub use attributes::Attributes;
pub use backup::{Bucket, REQUESTS};
pub use error::S3Error;
pub use facts::{ENGINE, Facts, JoinedFacts};
pub use key::{is_older_version, path_of_key};
pub use restore::{BucketReport, BucketSwitches, Objects};
pub use selection::KeySelection;
pub use session::BucketTarget;
pub use shard::Shard;
