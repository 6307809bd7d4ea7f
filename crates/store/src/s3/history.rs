//! Versions of objects, in buckets that keep them.

use std::cmp::Reverse;
use std::fmt::Write as _;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;

use crate::capability::{History, Version};
use crate::error::{Operation, StoreError};
use crate::name::{ObjectName, check_prefix};
use crate::s3::list::below;
use crate::s3::{Failed, S3Store};
use crate::url::decoded;

impl History for S3Store {
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        let key = self.key(name);
        let senseless = || self.senseless(Operation::Versions, name.as_str());
        let mut found = Vec::new();
        self.version_pages(name.as_str(), &mut |page, is_encoded| {
            let is_it = |listed: Option<&str>| listed.is_some_and(|listed| is_key(listed, &key, is_encoded));
            for listed in page.versions().iter().filter(|listed| is_it(listed.key())) {
                found.push(Version {
                    id: listed.version_id().ok_or_else(senseless)?.to_owned(),
                    length_bytes: listed.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    modified_ms: milliseconds(listed.last_modified()),
                    is_newest: listed.is_latest() == Some(true),
                    is_delete_marker: false,
                });
            }
            for listed in page.delete_markers().iter().filter(|listed| is_it(listed.key())) {
                found.push(Version {
                    id: listed.version_id().ok_or_else(senseless)?.to_owned(),
                    length_bytes: 0,
                    modified_ms: milliseconds(listed.last_modified()),
                    is_newest: listed.is_latest() == Some(true),
                    is_delete_marker: true,
                });
            }
            // Keys are listed in order: the rest belongs to longer names.
            Ok(page.next_key_marker().is_none_or(|next| is_key(next, &key, is_encoded)))
        })?;
        // Versions and markers are listed apart from each other.
        found.sort_by_key(|version| Reverse((version.is_newest, version.modified_ms)));
        Ok(found)
    }

    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError> {
        check_prefix(prefix)?;
        let mut found = Vec::new();
        self.version_pages(prefix, &mut |page, is_encoded| {
            for listed in page.delete_markers().iter().filter(|listed| listed.is_latest() == Some(true)) {
                let name = listed.key().and_then(|key| below(&self.root, key, is_encoded));
                let name = name.ok_or_else(|| self.senseless(Operation::Versions, prefix))?;
                // Whatever else lies below the prefix is foreign.
                found.extend(ObjectName::new(name).ok());
            }
            Ok(true)
        })?;
        Ok(found)
    }

    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.read_whole(name, Some(id), max_length_bytes)
    }

    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError> {
        let (key, (mode, until)) = (self.key(name), self.retention_of(name));
        let source = format!("{}/{}?versionId={}", self.bucket, encoded(&key), encoded(id));
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(key)
            .copy_source(source)
            .set_storage_class(self.class_of(name))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.sse_kms_key.clone())
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until);
        self.call(request.send())
            .map(|_| ())
            .map_err(|failed| self.error_on(Operation::MakeNewest, name, failed))
    }
}

impl S3Store {
    /// Visits all versions of all names that begin so, until the visitor has had enough. It is told whether keys are
    /// encoded.
    fn version_pages(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(&ListObjectVersionsOutput, bool) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut after = (None, None);
        loop {
            let request = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(format!("{}{prefix}", self.root))
                .encoding_type(EncodingType::Url)
                .set_key_marker(after.0.clone())
                .set_version_id_marker(after.1.clone());
            let fail = |failed: Failed| self.error(Operation::Versions, prefix, failed.without_object());
            let page = self.call(request.send()).map_err(fail)?;
            let goes_on = visit(&page, page.encoding_type() == Some(&EncodingType::Url))?;
            if page.is_truncated != Some(true) || !goes_on {
                return Ok(());
            }
            let next = (page.next_key_marker, page.next_version_id_marker);
            if next.0.is_none() || next == after {
                return Err(self.senseless(Operation::Versions, prefix));
            }
            after = next;
        }
    }
}

fn is_key(listed: &str, key: &str, is_encoded: bool) -> bool {
    let is_same = |text: &str| decoded(text).is_some_and(|listed| listed == key.as_bytes());
    if is_encoded { is_same(listed) || is_same(&listed.replace('+', " ")) } else { listed == key }
}

fn milliseconds(time: Option<&DateTime>) -> u64 {
    time.and_then(|time| time.to_millis().ok()).and_then(|time| u64::try_from(time).ok()).unwrap_or(0)
}

/// As headers want keys: everything but letters, digits and `/` of ASCII escaped.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(encoded("ü +/a-b_c.~"), "%C3%BC%20%2B/a-b_c.~");
        for key in ["ü +/a", "a%20b", "日本/?&="] {
            assert_eq!(decoded(&encoded(key)).unwrap(), key.as_bytes());
            assert!(is_key(&encoded(key), key, true));
            assert!(is_key(key, key, false));
            assert!(!is_key(&encoded(key), &format!("{key}x"), true));
        }
        assert!(is_key("a+b%2B", "a b+", true));
    }
}
