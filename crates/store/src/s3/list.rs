//! Lists, a page at a time.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, ObjectStorageClass};

use crate::error::{Operation, StoreError};
use crate::name::{ObjectName, check_prefix};
use crate::s3::{S3Store, object_info};
use crate::store::ObjectInfo;
use crate::url::decoded;

impl S3Store {
    pub(super) fn list_pages(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        check_prefix(prefix)?;
        let senseless = || self.senseless(Operation::List, prefix);
        let mut token = None;
        let mut last = after.cloned();
        loop {
            let page = self.page(prefix, after, token.clone())?;
            for object in page.contents() {
                let key = object.key().ok_or_else(senseless)?;
                let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
                let name = below(&self.root, key, is_encoded).ok_or_else(senseless)?;
                // Whatever else lies below the prefix is foreign.
                let Ok(name) = ObjectName::new(name) else { continue };
                let class = object.storage_class().map(ObjectStorageClass::as_str);
                let info = object_info(object.size(), object.last_modified(), class).ok_or_else(senseless)?;
                if last.as_ref().is_some_and(|last| *last >= name) || !name.as_str().starts_with(prefix) {
                    return Err(senseless());
                }
                last = Some(name.clone());
                visit(name, info)?;
            }
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
            // Without a new token the list would end early, or never.
            if page.next_continuation_token().is_none_or(|next| token.as_deref() == Some(next)) {
                return Err(senseless());
            }
            token = page.next_continuation_token;
        }
    }

    fn page(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        token: Option<String>,
    ) -> Result<ListObjectsV2Output, StoreError> {
        let start_after = after.filter(|_| token.is_none()).map(|after| self.key(after));
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.root))
            // Else a foreign key with a control character could not be said in XML.
            .encoding_type(EncodingType::Url)
            .set_start_after(start_after)
            .set_continuation_token(token);
        self.call(request.send())
            .map_err(|failed| self.error(Operation::List, prefix, failed.without_object()))
    }
}

/// The part of a key below `root`; `None` when it is not below it. What is no text becomes a name that is none.
///
/// Services differ in whether an encoded space is `+`.
pub(super) fn below(root: &str, key: &str, is_encoded: bool) -> Option<String> {
    let keys = match is_encoded {
        false => vec![key.as_bytes().to_vec()],
        true => vec![decoded(key)?, decoded(&key.replace('+', " "))?],
    };
    let below = keys.iter().find_map(|key| key.strip_prefix(root.as_bytes()))?;
    Some(String::from_utf8_lossy(below).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lose_their_prefix_and_encoding() {
        let below = |root, key, is_encoded| below(root, key, is_encoded);
        assert_eq!(below("", "a/b", false).as_deref(), Some("a/b"));
        assert_eq!(below("ü +/", "%C3%BC+%2B/a", true).as_deref(), Some("a"));
        assert_eq!(below("ü +/", "%C3%BC%20%2B/a", true).as_deref(), Some("a"));
        assert_eq!(below("ü +/", "%C3%BC%20+/a%01", true).as_deref(), Some("a\u{1}"));
        assert_eq!(below("ü +/", "ü +/a%20", false).as_deref(), Some("a%20"));
        assert_eq!(below("b/", "a/b", true), None);
        assert_eq!(below("", "a%2", true), None);
    }
}
