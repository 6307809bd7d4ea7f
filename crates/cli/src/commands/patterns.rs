//! Patterns on the paths of a snapshot.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use strongroom_engines::files::Filter;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::TreeEntry;

use crate::exit::Usage;

/// Paths that match a pattern: the path itself or a folder above it; a pattern without `/` matches any name.
pub(crate) struct Patterns(GlobSet);

impl Patterns {
    pub(crate) fn new(patterns: &[String], ignore_case: bool) -> anyhow::Result<Self> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let trimmed = pattern.trim_start_matches('/').trim_end_matches('/');
            if trimmed.is_empty() {
                return Err(Usage(format!("`{pattern}` is no pattern")).into());
            }
            let anywhere = if trimmed.contains('/') || pattern.starts_with('/') {
                trimmed.to_owned()
            } else {
                format!("**/{trimmed}")
            };
            set.add(glob(pattern, &anywhere, ignore_case)?);
        }
        Ok(Self(set.build()?))
    }

    /// Whether the path or a folder above it matches.
    pub(crate) fn matches(&self, path: &EntryPath) -> bool {
        let mut path = Some(path.clone());
        while let Some(current) = path {
            if self.matches_itself(&current) {
                return true;
            }
            path = current.parent();
        }
        false
    }

    /// Whether the path itself matches.
    pub(crate) fn matches_itself(&self, path: &EntryPath) -> bool {
        self.0.is_match(std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
            path.as_bytes(),
        )))
    }
}

fn glob(pattern: &str, text: &str, ignore_case: bool) -> anyhow::Result<Glob> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .case_insensitive(ignore_case)
        .build()
        .map_err(|error| Usage(format!("`{pattern}` is no pattern: {error}")).into())
}

/// `--include` and `--exclude` of a restore.
pub(crate) struct Selection {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> anyhow::Result<Option<Self>> {
        let some = |patterns: &[String]| {
            if patterns.is_empty() { Ok(None) } else { Patterns::new(patterns, false).map(Some) }
        };
        let selection = Self { include: some(include)?, exclude: some(exclude)? };
        Ok((selection.include.is_some() || selection.exclude.is_some()).then_some(selection))
    }
}

impl Filter for Selection {
    fn wants(&self, entry: &TreeEntry) -> bool {
        self.include.as_ref().is_none_or(|include| include.matches(&entry.path))
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(&entry.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_folders() {
        let path = |text: &str| EntryPath::new(text).unwrap();
        let patterns = |text: &str| Patterns::new(&[text.to_owned()], false).unwrap();
        assert!(patterns("*.sql").matches(&path("srv/a/b.sql")));
        assert!(patterns("/srv/a").matches(&path("srv/a/b.sql")));
        assert!(patterns("srv/*").matches(&path("srv/a/b.sql")));
        assert!(!patterns("srv/*").matches_itself(&path("srv/a/b.sql")));
        assert!(!patterns("/a").matches(&path("srv/a")));
        assert!(patterns("a").matches(&path("srv/a/c")));
        assert!(Patterns::new(&["/".to_owned()], false).is_err());
    }
}
