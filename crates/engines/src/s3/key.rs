//! Keys of objects as paths of entries, and back.
//!
//! A key is any text; a path has no part that is empty, `.` or `..`, and no NUL. What is ordinary stays as it is. Parts
//! that begin with `!` or something smaller are the exception: `!` and a digit is an older version of the object above
//! it, `!empty` a part without a letter, and `!x` stands before every other one. So versions come at once behind their
//! object, and the order of paths is that of keys whose `/` counts as the smallest of all bytes.

use strongroom_format::FormatError;
use strongroom_format::path::EntryPath;

/// Where objects lie.
pub(super) const OBJECTS: &str = "objects";

const EMPTY: &[u8] = b"!empty";
const ESCAPED: &[u8] = b"!x";
/// What begins a part that is no ordinary one, and the smallest byte of those that are.
const MARK: u8 = b'!';
/// Stands for NUL and itself inside of parts, and behind `.` and `..`.
const ESCAPE: u8 = 1;

/// An object, or a version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The object's key, without what all keys of the backup begin with.
    pub(super) key: String,
    /// Which of the older versions, from 1, the newest; 0 is the current one.
    pub(super) version: u64,
}

impl Place {
    /// As a path below [`OBJECTS`].
    ///
    /// # Errors
    /// For keys longer than S3 has any.
    pub(super) fn path(&self) -> Result<EntryPath, FormatError> {
        let mut bytes = OBJECTS.as_bytes().to_vec();
        for part in self.key.as_bytes().split(|byte| *byte == b'/') {
            bytes.push(b'/');
            escape(part, &mut bytes);
        }
        if self.version > 0 {
            bytes.extend_from_slice(format!("/!{:08}", self.version).as_bytes());
        }
        EntryPath::new(bytes)
    }

    /// What a path stands for; none if it is not one of an object.
    pub(super) fn of(path: &EntryPath) -> Option<Self> {
        let mut parts: Vec<&[u8]> = path.components().collect();
        if parts.first() != Some(&OBJECTS.as_bytes()) {
            return None;
        }
        parts.remove(0);
        let version = parts.last().and_then(|last| version_of(last));
        if version.is_some() {
            parts.pop();
        }
        let mut key = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                key.push(b'/');
            }
            unescape(part, &mut key)?;
        }
        if parts.is_empty() {
            return None;
        }
        Some(Self { key: String::from_utf8(key).ok()?, version: version.unwrap_or(0) })
    }
}

/// Where the current object of a key lies in a snapshot.
///
/// # Errors
/// For keys longer than S3 has any.
pub fn path_of_key(key: &str) -> Result<EntryPath, FormatError> {
    Place { key: key.to_owned(), version: 0 }.path()
}

/// Whether an entry is an older version, or a delete marker, and not an object as it was.
#[must_use]
pub fn is_older_version(path: &EntryPath) -> bool {
    Place::of(path).is_some_and(|place| place.version > 0)
}

fn version_of(part: &[u8]) -> Option<u64> {
    let digits = part.strip_prefix(&[MARK])?;
    let is_number = digits.len() >= 8 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn escape(part: &[u8], out: &mut Vec<u8>) {
    match part {
        b"" => out.extend_from_slice(EMPTY),
        b"." | b".." => {
            out.extend_from_slice(part);
            out.push(ESCAPE);
        }
        [first, ..] => {
            if *first <= MARK {
                out.extend_from_slice(ESCAPED);
            }
            for byte in part {
                match byte {
                    0 => out.extend_from_slice(&[ESCAPE, 1]),
                    &ESCAPE => out.extend_from_slice(&[ESCAPE, 2]),
                    byte => out.push(*byte),
                }
            }
        }
    }
}

fn unescape(part: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if part == EMPTY {
        return Some(());
    }
    if let [dots @ .., ESCAPE] = part
        && matches!(dots, b"." | b"..")
    {
        out.extend_from_slice(dots);
        return Some(());
    }
    let mut rest = match part.first() {
        Some(&MARK) => part.strip_prefix(ESCAPED)?,
        _ => part,
    };
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (&ESCAPE, [1, behind @ ..]) => {
                out.push(0);
                behind
            }
            (&ESCAPE, [2, behind @ ..]) => {
                out.push(ESCAPE);
                behind
            }
            (&ESCAPE, _) => return None,
            (byte, behind) => {
                out.push(*byte);
                behind
            }
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(key: &str, version: u64) -> Place {
        Place { key: key.into(), version }
    }

    #[test]
    fn ordinary_keys_stay_as_they_are() {
        for (key, path) in [
            ("a/b.txt", "objects/a/b.txt"),
            ("photos/", "objects/photos/!empty"),
            ("/", "objects/!empty/!empty"),
            ("a//b", "objects/a/!empty/b"),
            ("./..", "objects/.\u{1}/..\u{1}"),
            ("!1", "objects/!x!1"),
            (" a", "objects/!x a"),
            ("a\0b", "objects/a\u{1}\u{1}b"),
        ] {
            assert_eq!(place(key, 0).path().unwrap().as_bytes(), path.as_bytes(), "{key:?}");
        }
        assert_eq!(place("a", 12).path().unwrap().as_bytes(), b"objects/a/!00000012");
    }

    #[test]
    fn what_is_no_object_is_none() {
        for path in ["bucket.json", "objects", "objects/!00000001", "objects/!y", "objects/a\u{1}", "other/a"]
        {
            assert_eq!(Place::of(&EntryPath::new(path).unwrap()), None, "{path}");
        }
    }

    /// The key with its slashes as the smallest byte, and all others one greater.
    fn sortable(key: &str) -> Vec<u16> {
        key.bytes().map(|byte| if byte == b'/' { 0 } else { u16::from(byte) + 1 }).collect()
    }

    fn any_key() -> impl Strategy<Value = String> {
        let letters =
            prop::sample::select(vec!['/', '.', '!', '\0', '\u{1}', '\u{2}', ' ', '0', 'a', 'ü', '-', 'x']);
        prop::collection::vec(letters, 1..8).prop_map(|letters| letters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in any_key(), version in 0_u64..3) {
            let place = place(&key, version);
            prop_assert_eq!(Place::of(&place.path().unwrap()), Some(place));
        }

        #[test]
        fn any_text_comes_back(key in "\\PC{1,40}") {
            let place = place(&key, 0);
            prop_assert_eq!(Place::of(&place.path().unwrap()), Some(place));
        }

        #[test]
        fn paths_are_ordered_as_keys_are((one, two) in (any_key(), any_key()), versions in (0_u64..3, 0_u64..3)) {
            let paths = (place(&one, versions.0).path().unwrap(), place(&two, versions.1).path().unwrap());
            let should = sortable(&one).cmp(&sortable(&two)).then(versions.0.cmp(&versions.1));
            prop_assert_eq!(paths.0.cmp(&paths.1), should);
        }
    }
}
