//! What belongs to an object besides its bytes, as it lies with its entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, Metadata, TreeEntry};

/// The name of the extended attribute that holds all of it, as JSON.
pub(super) const ATTRIBUTE: &[u8] = b"user.s3";

/// Of an object, a version of it, or a delete marker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Without quotation marks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// `null` for one that was written while the bucket kept no versions; none where it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// It is a delete marker.
    #[serde(skip_serializing_if = "is_false")]
    pub delete_marker: bool,
    /// `Content-Type`, `Cache-Control`, `Content-Encoding`, `Content-Disposition`, `Content-Language`, `Expires`,
    /// `x-amz-website-redirect-location`: those that it has, in small letters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `x-amz-meta-`, without that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Storage class, if it is not `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How the service encrypted it: `AES256`, `aws:kms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// `GOVERNANCE` or `COMPLIANCE`, and until when it cannot be deleted, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<(String, i64)>,
    /// It is held.
    #[serde(skip_serializing_if = "is_false")]
    pub legal_hold: bool,
    /// Checksums that the service has of it: `sha256` and its value; with `-N` behind it where it is one of parts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checksums: BTreeMap<String, String>,
    /// For one that was uploaded in parts: how many of which size, bytes, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<(u64, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Attributes {
    /// Those of an entry; none if it is not one of an object.
    #[must_use]
    pub fn of(entry: &TreeEntry) -> Option<Self> {
        let attributes = &entry.metadata.as_ref()?.xattrs;
        let (_, json) = attributes.iter().find(|(name, _)| name == ATTRIBUTE)?;
        serde_json::from_slice(json).ok()
    }

    /// An entry with these, whose content comes from the lane.
    pub(super) fn entry(&self, path: EntryPath, modified_ms: i64) -> TreeEntry {
        self.entry_with(path, modified_ms, Content::Inline(Vec::new()))
    }

    /// An entry with these, and content that is there already.
    pub(super) fn entry_with(&self, path: EntryPath, modified_ms: i64, content: Content) -> TreeEntry {
        // A struct of text and numbers can always be written.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mtime_ns = modified_ms.saturating_mul(1_000_000);
        let metadata = Metadata {
            mode: 0o644,
            mtime_ns,
            ctime_ns: mtime_ns,
            xattrs: vec![(ATTRIBUTE.to_vec(), json)],
            ..Metadata::default()
        };
        TreeEntry { path, kind: EntryKind::File(content), metadata: Some(metadata), link_to: None }
    }

    /// The MD5 that its bytes should have, where the ETag is one.
    pub(super) fn md5(&self) -> Option<&str> {
        let is_md5 = self.etag.len() == 32 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        // What a service encrypts has another ETag, but for one kind.
        let is_plain = self.encryption.as_deref().is_none_or(|kind| kind == "AES256");
        Some(self.etag.as_str()).filter(|_| is_md5 && is_plain)
    }

    /// How many parts it was uploaded in, by its ETag; none if in one go.
    pub(super) fn part_count(&self) -> Option<u64> {
        let (hash, count) = self.etag.split_once('-')?;
        count.parse().ok().filter(|count| hash.len() == 32 && *count > 0)
    }

    /// The sizes of its parts, one after the other; none where they are not known.
    pub(super) fn part_sizes(&self) -> impl Iterator<Item = u64> + '_ {
        self.parts
            .iter()
            .flat_map(|&(count, size)| std::iter::repeat_n(size, usize::try_from(count).unwrap_or(0)))
    }
}

/// When it was changed last, ms since 1970.
pub(super) fn modified_ms(entry: &TreeEntry) -> i64 {
    entry.metadata.as_ref().map_or(0, |metadata| metadata.mtime_ns.div_euclid(1_000_000))
}
