//! What restores end with: a file, and what is told of it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;

use crate::context::{Context, host_name, tell_healed, user_name};
use crate::exit::{Outcome, Usage};
use crate::output::line;

/// Has `work` restore into a server; it gives what is told to programs, and to people.
///
/// # Errors
/// As `work` does.
pub(super) fn into_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    work: impl FnOnce(&Reader<'_>) -> anyhow::Result<(Value, String)>,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let reader = Reader::new(repository);
    context.terminal.begin("restoring", None);
    let (mut detail, text) = work(&reader)?;
    context.terminal.finish();
    let healed_packs = tell_healed(&reader);
    drop(reader);
    let seconds = began.elapsed().as_secs_f64();
    detail["seconds"] = seconds.into();
    tell(context, repository, snapshot, (detail, healed_packs), &format!("{text} in {seconds:.1} s"));
    Ok(Outcome::Done)
}

/// Notes in the journal what was restored, by whom, and tells it: `text` to people, `detail` to programs.
pub(super) fn tell(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    (mut detail, healed_packs): (Value, usize),
    text: &str,
) {
    let mut note = detail.clone();
    note["host"] = host_name().into();
    note["user"] = user_name().into();
    context.note(repository, "restore", Some(snapshot.id()), &note);
    if context.global.json {
        detail["type"] = "restore".into();
        detail["snapshot"] = snapshot.id().to_hex().into();
        detail["healed_packs"] = healed_packs.into();
        context.json(&detail);
    } else {
        line!("{text}");
    }
}

/// Whether it stands for standard output.
pub(super) fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Writes a file that is not there yet, whole or not at all, or to standard output.
///
/// # Errors
/// `Usage` when it is there; what writing it fails with.
pub(super) fn write_file<T>(
    context: &Context<'_>,
    file: &Path,
    total_bytes: Option<u64>,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if is_stdout(file) {
        return write(&mut File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    }
    let cannot = || format!("cannot write {}", file.display());
    if file.try_exists().with_context(cannot)? {
        return Err(Usage(format!("{} is there already: choose another name", file.display())).into());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    context.terminal.begin("restoring", total_bytes);
    let written = write(out.as_file_mut())?;
    context.terminal.finish();
    out.as_file().sync_all().with_context(cannot)?;
    out.persist_noclobber(file).with_context(cannot)?;
    Ok(written)
}
