//! Paths of entries: relative, in components, bytes and not text (`format-spec/objects.md#paths`).

use std::cmp::Ordering;
use std::fmt;

use crate::FormatError;

/// Longest path, bytes.
pub const PATH_LIMIT_BYTES: usize = 32 << 10;

/// A path within a snapshot: components joined by `/`, none of them empty, `.` or `..`, none with a NUL.
///
/// Ordered component by component, so that a folder is followed at once by all that lies in it. That is the
/// bytewise order with `/` counted as the smallest byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Checks and takes `bytes`.
    ///
    /// # Errors
    /// `Rule`, `Limit`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, FormatError> {
        let bytes = bytes.into();
        let rule = |rule| Err(FormatError::Rule { what: "path", rule });
        if bytes.len() > PATH_LIMIT_BYTES {
            return Err(FormatError::Limit {
                what: "path length",
                value: bytes.len() as u64,
                limit: PATH_LIMIT_BYTES as u64,
            });
        }
        if bytes.contains(&0) {
            return rule("it has no NUL");
        }
        for component in bytes.split(|b| *b == b'/') {
            match component {
                b"" => return rule("it is relative and has no empty component"),
                b"." | b".." => return rule("it has no component `.` or `..`"),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, first to last.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// The path one level up, or `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<EntryPath> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..slash].to_vec()))
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// Whether this is `ancestor` itself or lies in it.
    #[must_use]
    pub fn is_within(&self, ancestor: &EntryPath) -> bool {
        self.0.strip_prefix(&ancestor.0[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |b: &u8| if *b == b'/' { 0 } else { *b };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bytes that are not UTF-8, and control characters, are escaped as `\xNN`, so that a name cannot forge output.
impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            for c in part.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    #[test]
    fn what_is_no_path() {
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b"] {
            assert!(EntryPath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b", "...", "a/..b", "\u{e9}"] {
            assert!(EntryPath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_folder_is_followed_by_what_lies_in_it() {
        let mut paths =
            [path("a.txt"), path("a/z"), path("a"), path("a!"), path("b"), path("a/b/c"), path("a/b")];
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a/z", "a!", "a.txt", "b"]);
        assert!(
            path("a/b").is_within(&path("a"))
                && path("a").is_within(&path("a"))
                && !path("ab").is_within(&path("a"))
        );
    }

    #[test]
    fn names_cannot_forge_output() {
        assert_eq!(EntryPath::new(&b"a\xff\n\x1b[31m"[..]).unwrap().to_string(), "a\\xff\\n\\u{1b}[31m");
    }
}
