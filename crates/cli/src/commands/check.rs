//! `check`: finds damage, names what it touches, changes nothing.

use std::time::Instant;

use serde_json::json;
use strongroom_repository::check::{CheckOptions, CheckReport, Finding, Severity, scrub};
use strongroom_repository::monitor::Monitor as _;
use strongroom_repository::{Repository, RepositoryError};

use crate::arguments::Check;
use crate::audit::Reading;
use crate::context::Context;
use crate::exit::{DAMAGE, Outcome, PARTLY, Usage};
use crate::output::line;
use crate::render;

pub(crate) fn run(context: &Context<'_>, arguments: &Check) -> anyhow::Result<Outcome> {
    if arguments.no_key {
        return without_key(context, arguments);
    }
    let reads = arguments.packs || arguments.read_data || arguments.sample.is_some();
    if arguments.shard.is_some() && !reads {
        let text = "--shard divides what is read: give --read-data, --sample or --packs as well";
        return Err(Usage(text.into()).into());
    }
    let reads_content = arguments.read_data || arguments.sample.is_some() || arguments.keys;
    let mut repository = context.open_to_check(reads_content)?;
    if arguments.read_data || arguments.sample.is_some() {
        repository.require_read_access()?;
    }
    let detail = json!({ "read_data": arguments.read_data, "sample_percent": arguments.sample });
    let reading = Reading { event: "check", snapshot: None, detail };
    // What reads no stored data leaves one note: what it found.
    match arguments.read_data || arguments.sample.is_some() {
        true => context.audited(&mut repository, reading, |repository| look(context, repository, arguments)),
        false => look(context, &mut repository, arguments),
    }
}

fn look(context: &Context<'_>, repository: &mut Repository, arguments: &Check) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let options = CheckOptions {
        packs: arguments.packs,
        read_data: arguments.read_data,
        sample_percent: arguments.sample,
        keys: arguments.keys,
        share: arguments.shard,
        workers: context.pack_readers(arguments.jobs),
    };
    let all: u64 = repository.state().packs.values().map(|pack| pack.length).sum();
    let all = arguments.shard.map_or(all, |shard| all / u64::from(shard.of));
    let total = match arguments.sample {
        Some(percent) => Some(all / 100 * u64::from(percent)),
        None => (arguments.packs || arguments.read_data).then_some(all),
    };
    context.terminal.begin("checking", total);
    let report = repository.check_beside_prunes(&options, &context.terminal)?;
    context.terminal.finish();
    show(context, &report);
    let clean = report.is_clean();
    let mut detail = json!({
        "clean": clean, "findings": report.findings.len(), "packs": arguments.packs,
        "read_data": arguments.read_data, "sample_percent": arguments.sample, "keys": arguments.keys, "packs_read": report.checked.packs_read,
    });
    if let Some(shard) = arguments.shard {
        detail["shard"] = shard.to_string().into();
    }
    // What a verifier has opened, other writers may rely on; and the next sample begins with what nobody has.
    match repository.attest(&report.opened) {
        Ok(0) => {}
        Ok(attested) => {
            let state = repository.state();
            let never = state.packs.keys().filter(|pack| !state.attested.contains_key(*pack)).count();
            context
                .terminal
                .say(&format!("attested {attested} packs; {never} have never been opened by a check"));
        }
        Err(RepositoryError::NoSigner { .. }) => {}
        Err(error) => context.terminal.warn(&format!("what was opened could not be attested: {error}")),
    }
    // A share of a check is none of the repository.
    let event = if arguments.shard.is_some() { "check-shard" } else { "check" };
    context.note(repository, event, None, &detail);
    context.terminal.say(&format!("checked in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(match (clean, report.checked.packs_frozen) {
        (false, _) => Outcome::Code(DAMAGE),
        (true, 0) => Outcome::Done,
        (true, _) => Outcome::Code(PARTLY),
    })
}

/// What can be said of the store without any key.
fn without_key(context: &Context<'_>, arguments: &Check) -> anyhow::Result<Outcome> {
    let store = context.store()?;
    let report = scrub(&*store, context.pack_readers(arguments.jobs), &context.terminal)?;
    context.terminal.finish();
    for finding in &report.findings {
        if context.global.json { context.json(&to_json(finding)) } else { print(finding) }
    }
    let clean = report.is_clean();
    if context.global.json {
        context.json(&json!({
            "type": "scrub", "clean": clean, "findings": report.findings.len(), "objects": report.objects, "bytes": report.bytes,
            "entries": report.entries, "keys": report.keys, "log_objects": report.log_objects,
        }));
    } else {
        line!(
            "read {} packs and index objects ({}); {} journal entries, {} wrapped keys and {} objects of logs are there",
            report.objects,
            render::bytes(report.bytes),
            report.entries,
            report.keys,
            report.log_objects
        );
        line!(
            "{}; whether anything is missing, and what it contains, only a check with a key can tell",
            if clean { "no damage found" } else { "DAMAGE: see above" }
        );
    }
    Ok(if clean { Outcome::Done } else { Outcome::Code(DAMAGE) })
}

/// Prints what a check found.
pub(crate) fn show(context: &Context<'_>, report: &CheckReport) {
    for finding in &report.findings {
        if context.global.json { context.json(&to_json(finding)) } else { print(finding) }
    }
    let c = &report.checked;
    if context.global.json {
        context.json(&json!({
            "type": "check", "clean": report.is_clean(), "findings": report.findings.len(), "entries": c.entries, "checkpoints": c.checkpoints,
            "snapshots": c.snapshots, "index_objects": c.index_objects, "packs": c.packs, "packs_read": c.packs_read, "bytes_read": c.bytes_read,
            "packs_frozen": c.packs_frozen, "parity": c.parity, "nodes": c.nodes, "chunks": c.chunks, "keys": c.keys, "keys_opened": c.keys_opened,
            "log_objects": c.log_objects, "log_objects_read": c.log_objects_read,
        }));
        return;
    }
    let mut looked_at = format!(
        "{} journal entries, {} snapshots, {} index objects, {} tree nodes, {} chunks, {} packs",
        c.entries, c.snapshots, c.index_objects, c.nodes, c.chunks, c.packs
    );
    if c.packs_read > 0 {
        looked_at = format!("{looked_at} ({} read, {})", c.packs_read, render::bytes(c.bytes_read));
    }
    if c.parity > 0 {
        looked_at = format!("{looked_at}, {} with parity", c.parity);
    }
    if c.keys > 0 {
        looked_at = format!("{looked_at}, {} keys ({} opened)", c.keys, c.keys_opened);
    }
    if c.log_objects > 0 {
        looked_at = format!("{looked_at}, {} objects of logs ({} read)", c.log_objects, c.log_objects_read);
    }
    line!("checked {looked_at}");
    let count =
        |severity| report.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    match (count(Severity::Damage), count(Severity::Suspicious)) {
        (0, 0) => line!("no damage found"),
        (0, suspicious) => line!("no damage found, but {suspicious} suspicious"),
        (damage, suspicious) => line!(
            "DAMAGE: {}, and {suspicious} suspicious; all other snapshots are intact",
            render::count(damage, "finding")
        ),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Suspicious => "suspicious",
        Severity::Info => "info",
    }
}

/// Prints a finding.
pub(crate) fn print(finding: &Finding) {
    line!("{}: {}: {}", word(finding.severity), render::safe(&finding.object), render::safe(&finding.detail));
    if !finding.snapshots.is_empty() {
        let ids: Vec<String> = finding.snapshots.iter().map(strongroom_format::SnapshotId::short).collect();
        line!("  touches snapshots {}", ids.join(" "));
    }
    for (snapshot, path) in &finding.paths {
        line!("  {} /{path}", snapshot.short());
    }
    if finding.more_paths > 0 {
        line!("  and {} more", finding.more_paths);
    }
}

/// A finding for machines.
pub(crate) fn to_json(finding: &Finding) -> serde_json::Value {
    let paths: Vec<_> = finding
        .paths
        .iter()
        .map(|(snapshot, path)| json!({ "snapshot": snapshot.to_hex(), "path": render::path_json(path) }))
        .collect();
    json!({
        "type": "finding", "severity": word(finding.severity), "kind": finding.kind.name(), "object": finding.object, "detail": finding.detail,
        "snapshots": finding.snapshots.iter().map(|id| id.to_hex()).collect::<Vec<_>>(), "paths": paths, "more_paths": finding.more_paths,
    })
}
