//! `commit --group`: the parts of several workers become one snapshot.

use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_repository::backup::group::{CommitOptions, Group, GroupCommit, GroupError};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::{Repository, RepositoryError};

use crate::arguments::Commit;
use crate::context::Context;
use crate::exit::{Outcome, PARTLY, Usage};
use crate::output::line;
use crate::render;

/// zstd level of tree nodes, which is all that it stores.
const LEVEL: i32 = 3;
/// Between two looks at a group whose parts are missing.
const PAUSE: Duration = Duration::from_secs(2);
/// While it waits, a signal is seen after this.
const NAP: Duration = Duration::from_millis(100);

pub(crate) fn run(context: &Context<'_>, arguments: &Commit) -> anyhow::Result<Outcome> {
    if arguments.group.is_empty() {
        return Err(Usage("which group? --group NAME, or STRONGROOM_GROUP".into()).into());
    }
    let mut repository = context.open()?;
    let committed = match repository.committed_group(&arguments.group)? {
        Some(committed) => committed,
        None => {
            let detail = json!({ "group": arguments.group });
            context.performed(&mut repository, ("commit", None), detail, |repository| {
                commit(context, repository, arguments)
            })?
        }
    };
    context.terminal.finish();
    show(context, &repository, &arguments.group, &committed);
    Ok(if committed.totals.unreadable > 0 { Outcome::Code(PARTLY) } else { Outcome::Done })
}

fn commit(
    context: &Context<'_>,
    repository: &mut Repository,
    arguments: &Commit,
) -> anyhow::Result<GroupCommit> {
    let group = parts(context, repository, arguments)?;
    let (count, source) = (group.count(), render::safe(group.source()));
    context.terminal.say(&format!("joining {count} parts of {source}"));
    let options = CommitOptions {
        compression_level: LEVEL,
        workers: context.workers(arguments.jobs),
        uploads: context.uploads(),
    };
    Ok(strongroom_engines::commit(repository, &group, &options, &context.terminal)?)
}

/// All parts, once they are there.
fn parts(context: &Context<'_>, repository: &mut Repository, arguments: &Commit) -> anyhow::Result<Group> {
    let began = Instant::now();
    let mut said = None;
    loop {
        let missing = match repository.group(&arguments.group, arguments.parts) {
            Err(
                error @ RepositoryError::Group {
                    reason: GroupError::NoParts | GroupError::Incomplete { .. },
                    ..
                },
            ) => error,
            group => return Ok(group?),
        };
        let left = arguments.wait.unwrap_or_default().saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(missing.into());
        }
        let text = missing.to_string();
        if said.as_ref() != Some(&text) {
            context.terminal.say(&format!("waiting: {text}"));
            said = Some(text);
        }
        let until = Instant::now() + PAUSE.min(left);
        while Instant::now() < until {
            if context.terminal.is_cancelled() {
                return Err(RepositoryError::Interrupted.into());
            }
            std::thread::sleep(NAP.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

fn show(context: &Context<'_>, repository: &Repository, group: &str, committed: &GroupCommit) {
    let totals = &committed.totals;
    let snapshot = repository.snapshots().iter().find(|one| one.id() == committed.snapshot);
    let source = snapshot.map_or("", |snapshot| &snapshot.manifest.source);
    if context.global.json {
        context.json(&json!({
            "type": "commit", "group": group, "snapshot": committed.snapshot.to_hex(), "source": source,
            "host": snapshot.map_or("", |snapshot| &snapshot.manifest.host),
            "engine": snapshot.map_or("", |snapshot| &snapshot.manifest.engine),
            "parent": committed.parent.map(|parent| parent.to_hex()), "was_committed": committed.was_committed,
            "entries": totals.entries, "files": totals.files, "bytes": totals.bytes, "new_bytes": totals.new_bytes,
            "stored_bytes": totals.stored_bytes, "unreadable": totals.unreadable,
        }));
        return;
    }
    line!("snapshot {} of {}", committed.snapshot, render::safe(source));
    if committed.was_committed {
        context.terminal.say(&format!("group {} was committed before", render::safe(group)));
        return;
    }
    line!(
        "{}, {}; {} new, {} stored",
        render::files(totals.files),
        render::bytes(totals.bytes),
        render::bytes(totals.new_bytes),
        render::bytes(totals.stored_bytes)
    );
    if totals.unreadable > 0 {
        eprintln!(
            "warning: {} files could not be read, or changed while being read (their workers named each); all else is in the snapshot",
            totals.unreadable
        );
    }
}
