//! `restore --to s3://...`: a snapshot of a bucket, into a bucket.

use serde_json::json;
use strongroom_engines::files::Filter;
use strongroom_engines::s3::{
    BucketReport, BucketSwitches, KeySelection, Objects, REQUESTS, is_older_version,
};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::state::Snapshot;

use super::{backup_s3, restored};
use crate::arguments::Restore;
use crate::context::Context;
use crate::exit::{DAMAGE, Outcome, PARTLY, Usage};
use crate::render;

/// What of a snapshot of a bucket becomes files: no older versions.
pub(super) struct CurrentObjects<'f>(pub(super) Option<&'f dyn Filter>);

impl Filter for CurrentObjects<'_> {
    fn wants(&self, entry: &TreeEntry) -> bool {
        !is_older_version(&entry.path) && self.0.is_none_or(|filter| filter.wants(entry))
    }
}

pub(super) fn to_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let asked = &arguments.server;
    if !to.starts_with("s3://") {
        return Err(Usage(format!("`{to}` is no bucket: write s3://BUCKET or s3://BUCKET/PREFIX")).into());
    }
    let to = backup_s3::target(context, to, &asked.s3, asked.ca_file.as_ref())?;
    let selection = KeySelection::new(&arguments.include, &arguments.exclude)
        .map_err(|error| Usage(format!("that is no pattern: {error}")))?;
    let switches = BucketSwitches {
        selection,
        drop_existing: asked.drop_existing,
        with_configuration: asked.with_configuration,
        current_only: asked.current_only,
        protected: backup_s3::own_prefixes(context, &to, false)?,
        requests: arguments.jobs.unwrap_or(REQUESTS).max(1),
    };
    let mut report = BucketReport::default();
    restored::into_server(context, repository, snapshot, |reader| {
        let objects = Objects::open(reader, snapshot)?;
        report = objects.restore(&to, &switches, &context.terminal, context.readers(None))?;
        let done = &report;
        let detail = json!({
            "server": to.to_string(), "objects": done.objects, "versions": done.versions, "bytes": done.bytes, "left": done.left,
            "deleted": done.deleted, "failed": done.failed, "notes": done.notes,
        });
        Ok((detail, format!("{} of snapshot {} into {to}", in_words(done), snapshot.id().short())))
    })?;
    let done = report;
    for note in &done.notes {
        context.terminal.note(note);
    }
    for failure in &done.failures {
        eprintln!("error: {}", render::safe(failure));
    }
    if done.failed > 0 {
        eprintln!(
            "error: {} objects were not restored (the first are named above); all else was",
            done.failed
        );
    }
    if done.objects + done.versions + done.left == 0 && !arguments.include.is_empty() {
        eprintln!("warning: nothing in the snapshot matches");
        return Ok(Outcome::Code(PARTLY));
    }
    Ok(match (done.is_damaged, done.failed) {
        (true, _) => Outcome::Code(DAMAGE),
        (false, 0) => Outcome::Done,
        (false, _) => Outcome::Code(PARTLY),
    })
}

fn in_words(done: &BucketReport) -> String {
    let mut text = format!("restored {} objects ({})", done.objects, render::bytes(done.bytes));
    for (count, what) in
        [(done.versions, "older versions"), (done.left, "left as they were"), (done.deleted, "deleted")]
    {
        if count > 0 {
            text = format!("{text}, {count} {what}");
        }
    }
    text
}
