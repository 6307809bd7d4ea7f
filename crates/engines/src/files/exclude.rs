//! What a walk leaves out by name: patterns of gitignore.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use strongroom_format::path::EntryPath;

/// Why something is not in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExcludeReason {
    /// A pattern matches: neither it nor anything in it is kept.
    Pattern,
    /// A mount point: the folder is kept, its contents are not.
    OtherDevice,
    /// A folder tagged as a cache: it and the tag are kept, its other contents are not.
    CacheTag,
    /// A folder with the marker of `--exclude-if-present`: it and the marker are kept, its other contents are not.
    Marker,
}

/// A pattern or a file of patterns that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcludeError {
    /// It is no pattern.
    #[error("exclude pattern {pattern:?} cannot be read")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        source: ignore::Error,
    },
    /// An empty pattern: a script's unset variable, most likely.
    #[error("an exclude pattern is empty")]
    Empty,
    /// A line of an exclude file is no pattern.
    #[error("line {line} of exclude file {} is no pattern", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: ignore::Error,
    },
    /// An exclude file cannot be read, or is not UTF-8.
    #[error("exclude file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Patterns of gitignore, matched against absolute paths from the top down; the last that matches decides.
///
/// As in gitignore, `name` matches at any depth, `name/` folders only, a leading `/` anchors (here: at the root of
/// the file system), `!` takes a name back in unless a folder above it is out. Otherwise than there, a slash in the
/// middle does not anchor: `target/debug` matches at any depth, because there is no folder it could be relative to.
#[derive(Debug, Clone)]
pub struct Excludes(Gitignore);

impl Default for Excludes {
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

impl Excludes {
    /// Reads `patterns` and then `files`, one pattern a line, with blank lines and `#` comments.
    ///
    /// # Errors
    /// `Pattern`, `Empty`, `Line`, `File`: a pattern that is not understood is never skipped.
    pub fn new(patterns: &[String], files: &[PathBuf]) -> Result<Self, ExcludeError> {
        let mut builder = GitignoreBuilder::new("/");
        let failed = |pattern: &str, source| ExcludeError::Pattern { pattern: pattern.to_owned(), source };
        for pattern in patterns {
            if pattern.trim().is_empty() {
                return Err(ExcludeError::Empty);
            }
            // On a command line nothing is a comment.
            let literal = if pattern.starts_with('#') { format!("\\{pattern}") } else { unanchored(pattern) };
            builder.add_line(None, &literal).map_err(|source| failed(pattern, source))?;
        }
        for path in files {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ExcludeError::File { path: path.clone(), source })?;
            for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
                builder
                    .add_line(Some(path.clone()), &unanchored(line))
                    .map_err(|source| ExcludeError::Line { path: path.clone(), line: at + 1, source })?;
            }
        }
        Ok(Self(builder.build().map_err(|source| failed("", source))?))
    }

    /// Whether a pattern leaves `path` out, given that it leaves no folder above it out.
    pub(super) fn matches(&self, path: &EntryPath, is_directory: bool) -> bool {
        !self.0.is_empty()
            && self.0.matched(Path::new(OsStr::from_bytes(path.as_bytes())), is_directory).is_ignore()
    }
}

/// Lets a pattern with a slash in its middle match at any depth.
fn unanchored(line: &str) -> String {
    let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest));
    let anchored = pattern.starts_with('/') || pattern.starts_with("**/") || pattern.starts_with('#');
    let inner_slash = pattern.trim_end().trim_end_matches('/').contains('/');
    if inner_slash && !anchored { format!("{sign}**/{pattern}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &[&str], path: &str, is_directory: bool) -> bool {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        Excludes::new(&patterns, &[]).unwrap().matches(&EntryPath::new(path).unwrap(), is_directory)
    }

    #[test]
    fn the_rules_of_gitignore() {
        let cases = [
            (&["*.o"][..], "srv/a/x.o", false, true),
            (&["*.o"], "srv/a/x.c", false, false),
            (&["tmp/"], "srv/tmp", true, true),
            (&["tmp/"], "srv/tmp", false, false),
            (&["/srv/a"], "srv/a", true, true),
            (&["/srv/a"], "x/srv/a", true, false),
            (&["/srv"], "srv", true, true),
            (&["/a"], "srv/a", true, false),
            (&["target/debug"], "home/x/target/debug", true, true),
            (&["target/debug"], "home/x/target/release", true, false),
            (&["!a/b", "b"], "x/a/b", true, true),
            (&["b", "!a/b"], "x/a/b", true, false),
            (&["**/c/d"], "a/b/c/d", false, true),
            (&["a/**/d"], "x/a/b/c/d", false, true),
            (&["#x#"], "a/#x#", false, true),
            (&["\\!x"], "a/!x", false, true),
            (&["*.log", "!keep.log"], "a/keep.log", false, false),
            (&["*.log", "!keep.log"], "a/b.log", false, true),
            (&[], "a", false, false),
        ];
        for (patterns, path, is_directory, expected) in cases {
            assert_eq!(excluded(patterns, path, is_directory), expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn names_that_are_no_text_match() {
        let excludes = Excludes::new(&["*.o".into()], &[]).unwrap();
        assert!(excludes.matches(&EntryPath::new(&b"a/\xff.o"[..]).unwrap(), false));
    }

    #[test]
    fn a_file_of_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("excludes");
        std::fs::write(&path, "\u{feff}# caches\n\n*.o  \n\\#lit\n/srv/tmp/\n").unwrap();
        let excludes = Excludes::new(&[], std::slice::from_ref(&path)).unwrap();
        let matches =
            |path: &str, is_directory| excludes.matches(&EntryPath::new(path).unwrap(), is_directory);
        assert!(matches("a/b.o", false) && matches("a/#lit", false) && matches("srv/tmp", true));
        assert!(!matches("a/# caches", false));

        std::fs::write(&path, "a\n[z-a]\n").unwrap();
        let error = Excludes::new(&[], std::slice::from_ref(&path)).unwrap_err();
        assert!(matches!(error, ExcludeError::Line { line: 2, .. }), "{error:?}");
        std::fs::write(&path, b"\xff\n").unwrap();
        assert!(matches!(Excludes::new(&[], &[path]), Err(ExcludeError::File { .. })));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(matches!(Excludes::new(&["".into()], &[]), Err(ExcludeError::Empty)));
        assert!(matches!(
            Excludes::new(&["a{b".into()], &[]),
            Err(ExcludeError::Pattern { pattern, .. }) if pattern == "a{b"
        ));
    }
}
