//! What a snapshot holds under a path, and how names become paths.

use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::Content;
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::tree::EntryCursor;

use crate::engine::EngineError;

/// The content of the entry with that path, if there is one.
///
/// # Errors
/// `StreamName`; what reading the tree fails with.
pub(crate) fn find(
    reader: &Reader<'_>,
    snapshot: &Snapshot,
    path: &str,
) -> Result<Option<Content>, EngineError> {
    let name = |source| EngineError::StreamName { name: path.to_owned(), source };
    let wanted = EntryPath::new(path.as_bytes().to_vec()).map_err(name)?;
    let entry = EntryCursor::new(reader, &snapshot.manifest.tree)?.seek(&wanted)?;
    Ok(entry.and_then(|entry| entry.content().cloned()))
}

/// The content of the entry with that path.
///
/// # Errors
/// `NoSuchPath`; as [`find`].
pub(crate) fn content(reader: &Reader<'_>, snapshot: &Snapshot, path: &str) -> Result<Content, EngineError> {
    let missing = || RepositoryError::NoSuchPath { snapshot: snapshot.id(), path: path.to_owned() };
    Ok(find(reader, snapshot, path)?.ok_or_else(missing)?)
}

/// A name as one part of a path: what separates parts, and what stands for other bytes, is written as `%` and two digits.
#[must_use]
pub fn part(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '/' | '%' | '\0' => out.push_str(&format!("%{:02X}", u32::from(character))),
            character => out.push(character),
        }
    }
    match out.as_str() {
        "" => "%".into(),
        "." => "%2E".into(),
        ".." => "%2E.".into(),
        _ => out,
    }
}
