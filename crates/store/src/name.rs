//! Names of objects.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::error::StoreError;

/// Longest name of an object.
pub const OBJECT_NAME_MAX_BYTES: usize = 255;

/// Longest prefix: object stores take keys of 1024 bytes, and a name and a `/` follow it.
pub(crate) const PREFIX_MAX_BYTES: usize = 1024 - 1 - OBJECT_NAME_MAX_BYTES;

/// The local store keeps unfinished objects in a folder of this name, so no object's name may begin with it.
pub(crate) const RESERVED_COMPONENT: &str = "tmp";

/// A checked name such as `packs/3f/3f09…`: components of `a-z 0-9 - _ .` joined by `/`.
///
/// Such a name is a safe relative path on every file system, case-insensitive ones included, and needs no escaping
/// in a URL. Names are ordered by their bytes, as stores list them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

/// Which rule a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameReason {
    /// The name, or a component of it, is empty: so is one that begins or ends with `/`.
    #[error("a component is empty")]
    EmptyComponent,
    /// Longer than [`OBJECT_NAME_MAX_BYTES`].
    #[error("it is longer than {OBJECT_NAME_MAX_BYTES} bytes")]
    TooLong,
    /// A character other than `a-z 0-9 - _ . /`.
    #[error("it holds a character other than a-z 0-9 - _ . /")]
    Character,
    /// A component begins with a dot: `.`, `..`, or a hidden file, as NFS and others leave them behind.
    #[error("a component begins with a dot")]
    LeadingDot,
    /// The first component is `tmp`, where the local store keeps unfinished objects.
    #[error("names beginning with {RESERVED_COMPONENT}/ are reserved")]
    Reserved,
}

impl ObjectName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`StoreError::InvalidName`]
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        match check(&name) {
            Ok(()) => Ok(Self(name)),
            Err(reason) => Err(StoreError::InvalidName { name, reason }),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder the object lies in, without the last `/`: empty for one at the top.
    pub(crate) fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Checks a prefix to list: nothing, or the beginning of a name; `journal/` as well as `packs/3`.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let (folder, last) =
        prefix.rsplit_once('/').map_or((None, prefix), |(folder, last)| (Some(folder), last));
    let checked = if prefix.len() > OBJECT_NAME_MAX_BYTES {
        Err(NameReason::TooLong)
    } else {
        folder.map_or(Ok(()), check).and_then(|()| check_characters(last))
    };
    checked.map_err(|reason| StoreError::InvalidName { name: prefix.to_owned(), reason })
}

fn check(name: &str) -> Result<(), NameReason> {
    if name.len() > OBJECT_NAME_MAX_BYTES {
        return Err(NameReason::TooLong);
    }
    for (index, component) in name.split('/').enumerate() {
        if component.is_empty() {
            return Err(NameReason::EmptyComponent);
        }
        check_characters(component)?;
        if index == 0 && component == RESERVED_COMPONENT {
            return Err(NameReason::Reserved);
        }
    }
    Ok(())
}

fn check_characters(component: &str) -> Result<(), NameReason> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if !component.bytes().all(allowed) {
        return Err(NameReason::Character);
    }
    if component.starts_with('.') {
        return Err(NameReason::LeadingDot);
    }
    Ok(())
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        Self::new(name)
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Sound because a name compares, orders and hashes as its text does.
impl Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(name: &str) -> NameReason {
        match ObjectName::new(name) {
            Err(StoreError::InvalidName { reason, name: refused }) => {
                assert_eq!(refused, name);
                reason
            }
            other => panic!("{name:?}: {other:?}"),
        }
    }

    #[test]
    fn each_rule_is_told_apart() {
        for name in ["", "/", "a/", "/a", "a//b"] {
            assert_eq!(reason(name), NameReason::EmptyComponent, "{name}");
        }
        for name in ["A", "a b", "a\\b", "ä", "a\0", "a/B", "a:b", "a\n"] {
            assert_eq!(reason(name), NameReason::Character, "{name}");
        }
        for name in [".", "..", "a/..", "../a", "a/./b", ".nfs0001"] {
            assert_eq!(reason(name), NameReason::LeadingDot, "{name}");
        }
        assert_eq!(reason("tmp"), NameReason::Reserved);
        assert_eq!(reason("tmp/a"), NameReason::Reserved);
        assert_eq!(reason(&"a".repeat(256)), NameReason::TooLong);
        for name in
            ["config", "a..b", "packs/3f/3f09", "tmpx", "a/tmp", "journal/0000-1_2.x", &"a".repeat(255)]
        {
            assert_eq!(ObjectName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn prefixes_are_checked_too() {
        for prefix in ["", "journal/", "packs/3f/", "packs/3", "tm", "tmp", "conf"] {
            check_prefix(prefix).unwrap();
        }
        for prefix in ["/", "../", "a//", "a/../b", "tmp/", "A", ".", "a/.", &"a".repeat(256)] {
            check_prefix(prefix).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_below_its_folder(name in "[a-zA-Z0-9./_ -]{0,40}|\\PC{0,10}|(tmp|[.]{1,2}|a|/){0,6}") {
            let expected = name.len() <= 255
                && name.split('/').all(|part| {
                    !part.is_empty()
                        && !part.starts_with('.')
                        && part.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_.".contains(c))
                })
                && name.split('/').next() != Some("tmp");
            let checked = ObjectName::new(name.clone());
            prop_assert_eq!(checked.is_ok(), expected);
            if let Ok(checked) = checked {
                prop_assert_eq!(checked.as_str(), name.as_str());
                let path = std::path::Path::new(&name);
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
                for end in 0..=name.len() {
                    prop_assert!(check_prefix(&name[..end]).is_ok());
                }
            }
        }
    }
}
