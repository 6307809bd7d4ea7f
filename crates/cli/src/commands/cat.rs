//! `cat`: one file or stream to standard output.

use std::io::Write;

use serde_json::json;
use strongroom_engines::s3;
use strongroom_format::tree_entry::{Content, TreeEntry};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::restore::write_in_order;
use strongroom_repository::state::Snapshot;
use strongroom_repository::thaw::NeededPacks;
use strongroom_repository::tree::EntryCursor;
use strongroom_repository::{Repository, RepositoryError};

use super::ls::parse_path;
use crate::arguments::Cat;
use crate::audit::Reading;
use crate::context::{Context, tell_healed};
use crate::exit::{Outcome, Usage};
use crate::thawing;

pub(crate) fn run(context: &Context<'_>, arguments: &Cat) -> anyhow::Result<Outcome> {
    let mut repository = context.open_to_read()?;
    let snapshot = context.select(&repository, &arguments.snapshot)?.clone();
    let entry = find(&Reader::new(&repository), &snapshot, arguments.path.as_deref())?;
    let Some(content) = entry.content() else {
        return Err(
            Usage(format!("/{} is no file or stream: only those can be written out", entry.path)).into()
        );
    };
    repository.require_read_access()?;
    if repository.has_cold_storage() {
        let mut packs = NeededPacks::default();
        packs.add(&Reader::new(&repository), content)?;
        thawing::wait(context, &repository, &packs, &arguments.thaw)?;
    }
    let detail = json!({ "path": entry.path.to_string(), "command": "cat" });
    let reading = Reading { event: "restore", snapshot: Some(snapshot.id()), detail };
    context.audited(&mut repository, reading, |repository| {
        write_out(context, repository, &snapshot, &entry, content)
    })
}

fn write_out(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    entry: &TreeEntry,
    content: &Content,
) -> anyhow::Result<Outcome> {
    let reader = Reader::new(repository);
    let stdout = std::io::stdout();
    // The widest pipe there can be; and no line buffer in between.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, 1 << 20);
    let mut out = std::fs::File::from(std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned()?);
    // Standard output is for the data.
    if !std::io::IsTerminal::is_terminal(&stdout) && !context.global.json {
        context.terminal.begin("writing", Some(entry.bytes()));
    }
    match write_in_order(&reader, content, &mut out, &context.terminal, context.readers(None)) {
        // Whoever reads has enough.
        Err(RepositoryError::Write { source }) if source.kind() == std::io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    out.flush()?;
    tell_healed(&reader);
    drop(reader);
    let detail = json!({ "path": entry.path.to_string(), "command": "cat", "bytes": entry.bytes() });
    context.note(repository, "restore", Some(snapshot.id()), &detail);
    Ok(Outcome::Done)
}

fn find(reader: &Reader<'_>, snapshot: &Snapshot, path: Option<&str>) -> anyhow::Result<TreeEntry> {
    let mut cursor = EntryCursor::new(reader, &snapshot.manifest.tree)?;
    if let Some(path) = path {
        // Of a bucket, a key is meant; its path may be another.
        if snapshot.manifest.engine == s3::ENGINE
            && let Ok(path) = s3::path_of_key(path)
            && let Some(entry) = EntryCursor::new(reader, &snapshot.manifest.tree)?.seek(&path)?
        {
            return Ok(entry);
        }
        let path = parse_path(path)?;
        return cursor.seek(&path)?.ok_or_else(|| {
            RepositoryError::NoSuchPath { snapshot: snapshot.id(), path: path.to_string() }.into()
        });
    }
    let mut only = None;
    while let Some(entry) = cursor.next_entry()? {
        if entry.content().is_some() && only.replace(entry).is_some() {
            return Err(Usage(
                "the snapshot holds more than one file: give a path (`strongroom ls` lists them)".into(),
            )
            .into());
        }
    }
    only.ok_or_else(|| Usage("the snapshot holds no file".into()).into())
}
