//! What is known of a bucket when it is backed up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use super::attributes::Attributes;
use super::error::S3Error;
use super::key::Place;
use super::shard::Shard;
use crate::engine::EngineError;

/// The engine's name.
pub const ENGINE: &str = "s3";

/// Beginnings of keys that are counted one by one; the others together.
const MOST_PREFIXES: usize = 200;
/// Stands for the others.
const OTHERS: &str = "...";

/// Of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `s3`
    pub engine: String,
    /// The bucket.
    pub bucket: String,
    /// What all its keys begin with; entries lie below without it.
    pub prefix: String,
    /// The service, where it is not AWS's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `enabled`, `suspended`, `off`.
    pub versioning: String,
    /// Whether older versions and delete markers are in the snapshot.
    pub with_versions: bool,
    /// Whether tags are: `listed`, `asked`, `left out`.
    pub tags: String,
    /// Which part of the bucket it is, where several workers share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of the snapshot, how much was read; the rest is unchanged since the one before.
    pub read: u64,
    /// Objects that were deleted between being listed and being read: they are not in the snapshot.
    pub vanished: u64,
    /// Objects that could not be read, the first of them by name.
    pub unreadable: u64,
    /// Their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable_keys: Vec<String>,
    /// Beginnings of keys that were left out: the repository's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What of the bucket's configuration this caller may not see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configuration_denied: Vec<String>,
}

/// What entries come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Those that were there.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Older ones.
    pub versions: u64,
    /// Their bytes.
    pub version_bytes: u64,
    /// Of objects that were deleted.
    pub delete_markers: u64,
    /// Objects and their bytes by the first part of their keys.
    pub prefixes: BTreeMap<String, (u64, u64)>,
    /// BLAKE3 over key, version, ETag and size of all of them, in the snapshot's order.
    pub digest: String,
}

/// Counts entries as they come, in order.
#[derive(Debug, Default)]
pub(super) struct Counting {
    counts: Counts,
    hasher: blake3::Hasher,
}

impl Counting {
    pub(super) fn add(&mut self, entry: &TreeEntry, attributes: &Attributes, bytes: u64) {
        let Some(place) = Place::of(&entry.path) else { return };
        let counts = &mut self.counts;
        if attributes.delete_marker {
            counts.delete_markers += 1;
        } else if place.version > 0 {
            counts.versions += 1;
            counts.version_bytes += bytes;
        } else {
            counts.objects += 1;
            counts.bytes += bytes;
            let first = place.key.split_once('/').map_or("", |(first, _)| first);
            let is_counted = counts.prefixes.len() < MOST_PREFIXES || counts.prefixes.contains_key(first);
            let counted =
                counts.prefixes.entry(if is_counted { first } else { OTHERS }.to_owned()).or_default();
            counted.0 += 1;
            counted.1 += bytes;
        }
        let version = attributes.version.as_deref().unwrap_or_default();
        for part in [place.key.as_str(), version, attributes.etag.as_str()] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part.as_bytes());
        }
        self.hasher.update(&bytes.to_le_bytes());
    }

    pub(super) fn finish(mut self) -> Counts {
        self.counts.digest = self.hasher.finalize().to_hex().to_string();
        self.counts
    }
}

impl Facts {
    /// Those of a snapshot.
    ///
    /// # Errors
    /// `NotABucketSnapshot`; what reading the facts fails with.
    pub fn of(reader: &Reader<'_>, snapshot: &Snapshot) -> Result<Self, EngineError> {
        let other = || S3Error::NotABucketSnapshot { snapshot: snapshot.id() };
        let facts = snapshot.manifest.facts.as_ref().filter(|_| snapshot.manifest.engine == ENGINE);
        let json = reader.blob(facts.ok_or_else(other)?.node)?;
        Ok(serde_json::from_slice(&json).map_err(|_| other())?)
    }
}
