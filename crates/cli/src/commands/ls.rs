//! `ls`: the entries of a snapshot.

use serde_json::json;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{EntryKind, TreeEntry};
use strongroom_repository::RepositoryError;
use strongroom_repository::reader::Reader;
use strongroom_repository::tree::EntryCursor;

use crate::arguments::Ls;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Ls) -> anyhow::Result<Outcome> {
    let repository = context.open_with_index()?;
    let snapshot = context.select(&repository, &arguments.snapshot)?;
    let reader = Reader::new(&repository);
    let mut cursor = EntryCursor::new(&reader, &snapshot.manifest.tree)?;
    let within = arguments.path.as_deref().filter(|path| !is_root(path)).map(parse_path).transpose()?;
    let mut next = match &within {
        None => cursor.next_entry()?,
        Some(path) => Some(cursor.seek(path)?.ok_or_else(|| RepositoryError::NoSuchPath {
            snapshot: snapshot.id(),
            path: path.to_string(),
        })?),
    };
    let depth = within.as_ref().map_or(0, |path| path.components().count());
    while let Some(entry) = next {
        if within.as_ref().is_some_and(|within| !entry.path.is_within(within)) {
            break;
        }
        if !arguments.flat || entry.path.components().count() <= depth + 1 {
            print(context, arguments.long, &entry);
        }
        next = cursor.next_entry()?;
    }
    Ok(Outcome::Done)
}

/// A path as a person writes it: with or without a leading slash.
pub(crate) fn parse_path(text: &str) -> anyhow::Result<EntryPath> {
    let trimmed = text.trim_start_matches('/').trim_end_matches('/');
    EntryPath::new(trimmed).map_err(|error| Usage(format!("`{text}` is no path: {error}")).into())
}

/// Whether a person means the whole snapshot.
pub(crate) fn is_root(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte == b'/')
}

fn print(context: &Context<'_>, long: bool, entry: &TreeEntry) {
    if context.global.json {
        return context.json(&to_json(entry));
    }
    let target = match &entry.kind {
        EntryKind::Symlink { target } => format!(" -> {}", render::safe(&String::from_utf8_lossy(target))),
        _ => String::new(),
    };
    if !long {
        return crate::output::line!("/{}{target}", entry.path);
    }
    let (mode, owner, time) = match &entry.metadata {
        None => ("          ".to_owned(), "-".to_owned(), " ".repeat(19)),
        Some(m) => {
            let name = |name: &Option<String>, id: u32| {
                name.as_ref().map_or_else(|| id.to_string(), |name| render::safe(name))
            };
            (
                mode_text(&entry.kind, m.mode),
                format!("{}:{}", name(&m.user, m.uid), name(&m.group, m.gid)),
                render::time_ms(m.mtime_ns.div_euclid(1_000_000)),
            )
        }
    };
    crate::output::line!("{mode} {owner:<17} {:>12} {time} /{}{target}", entry.bytes(), entry.path);
}

fn mode_text(kind: &EntryKind, mode: u32) -> String {
    let mut text = String::from(kind_letter(kind));
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn kind_letter(kind: &EntryKind) -> char {
    match kind {
        EntryKind::File(_) => '-',
        EntryKind::Stream(_) => '=',
        EntryKind::Directory => 'd',
        EntryKind::Symlink { .. } => 'l',
        EntryKind::CharacterDevice { .. } => 'c',
        EntryKind::BlockDevice { .. } => 'b',
        EntryKind::Fifo => 'p',
        EntryKind::Socket => 's',
    }
}

/// The kind of an entry, in a word.
pub(crate) fn kind_word(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File(_) => "file",
        EntryKind::Stream(_) => "stream",
        EntryKind::Directory => "directory",
        EntryKind::Symlink { .. } => "symlink",
        EntryKind::CharacterDevice { .. } => "character-device",
        EntryKind::BlockDevice { .. } => "block-device",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
    }
}

/// An entry for machines.
pub(crate) fn to_json(entry: &TreeEntry) -> serde_json::Value {
    let mut value = json!({ "type": "entry", "path": render::path_json(&entry.path), "kind": kind_word(&entry.kind), "bytes": entry.bytes() });
    if let Some(m) = &entry.metadata {
        value["mode"] = format!("{:04o}", m.mode).into();
        value["uid"] = m.uid.into();
        value["gid"] = m.gid.into();
        value["user"] = m.user.clone().into();
        value["group"] = m.group.clone().into();
        value["mtime"] = render::rfc3339_ns(m.mtime_ns).into();
    }
    if let EntryKind::Symlink { target } = &entry.kind {
        value["target"] = String::from_utf8_lossy(target).into();
    }
    if let Some(first) = &entry.link_to {
        value["link_to"] = render::path_json(first);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(mode_text(&EntryKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_text(&EntryKind::Fifo, 0o6640), "prwSr-S---");
        assert_eq!(mode_text(&EntryKind::Socket, 0o4755), "srwsr-xr-x");
    }
}
