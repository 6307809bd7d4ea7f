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
use crate::join::{JoinError, agree, decoded};

/// The engine's name.
pub const ENGINE: &str = "s3";

/// Beginnings of keys that are counted one by one; the others together.
const MOST_PREFIXES: usize = 200;
/// Stands for the others.
const OTHERS: &str = "...";
/// Of unreadable objects.
const MOST_NAMED: usize = 20;
/// Tags that this caller may not see.
pub(super) const DENIED: &str = "denied";

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
    /// How many workers had a part each, of a snapshot that they made together.
    #[serde(skip_serializing_if = "is_none")]
    pub workers: u64,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(workers: &u64) -> bool {
    *workers == 0
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

/// What is known of a group of workers that shared a bucket.
#[derive(Debug)]
pub struct JoinedFacts {
    facts: Facts,
    counting: Counting,
}

impl JoinedFacts {
    /// Of these parts.
    ///
    /// # Errors
    /// `Facts`; `Disagreement` when they are of more than one bucket, or kept other things of it.
    pub fn of(parts: &[Vec<u8>]) -> Result<Self, JoinError> {
        let parts: Vec<Facts> = decoded(parts)?;
        agree(&parts, "the bucket", |part| format!("`{}/{}`", part.bucket, part.prefix))?;
        agree(&parts, "versioning", |part| format!("{}, {}", part.versioning, part.with_versions))?;
        let mut facts = parts.first().cloned().unwrap_or_default();
        let all = |of: fn(&Facts) -> u64| parts.iter().map(of).sum();
        facts.shard = None;
        facts.workers = parts.len() as u64;
        facts.read = all(|part| part.read);
        facts.vanished = all(|part| part.vanished);
        facts.unreadable = all(|part| part.unreadable);
        facts.unreadable_keys =
            parts.iter().flat_map(|part| &part.unreadable_keys).take(MOST_NAMED).cloned().collect();
        for part in &parts {
            // What only some were denied is not all there.
            for denied in &part.configuration_denied {
                if !facts.configuration_denied.contains(denied) {
                    facts.configuration_denied.push(denied.clone());
                }
            }
            if facts.tags != DENIED {
                facts.tags.clone_from(&part.tags);
            }
        }
        Ok(Self { facts, counting: Counting::default() })
    }

    /// Counts the next entry of the snapshot.
    pub fn add(&mut self, entry: &TreeEntry) {
        if let Some(attributes) = Attributes::of(entry) {
            self.counting.add(entry, &attributes, entry.bytes());
        }
    }

    /// The facts of the snapshot.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.facts.counts = self.counting.finish();
        serde_json::to_vec(&self.facts).unwrap_or_default()
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
