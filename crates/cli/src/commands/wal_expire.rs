//! `wal expire`: what of log archives no base backup needs any more.

use serde_json::json;
use strongroom_engines::postgres::physical::{ENGINE, PhysicalSnapshot};
use strongroom_format::entry::{ExpireBody, SegmentRange};
use strongroom_format::wal_file::Segment;
use strongroom_repository::Repository;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::wal::{LogArchive, unneeded};

use crate::arguments::WalExpire;
use crate::context::Context;
use crate::exit::Outcome;
use crate::output::line;
use crate::render;

/// A base backup: when it was made, and where recovery from it begins.
pub(super) struct Base {
    pub(super) system: u64,
    time_ms: i64,
    pub(super) first: Segment,
}

pub(crate) fn run(context: &Context<'_>, arguments: &WalExpire) -> anyhow::Result<Outcome> {
    let mut repository = context.open()?;
    let physical = repository.snapshots().iter().filter(|snapshot| snapshot.manifest.engine == ENGINE);
    let bases = bases(&repository, physical)?;
    let within_ms = i64::try_from(arguments.keep_within.as_millis()).unwrap_or(i64::MAX);
    for log in repository.log_archives(arguments.source.as_deref())?.archives {
        let kept = kept(&bases, log.system, within_ms);
        if kept.is_empty() {
            context.terminal.say(&format!(
                "{} of system {} is left alone: there is no base backup of that system",
                render::safe(&log.source),
                log.system
            ));
            continue;
        }
        let ranges = unneeded(&log.timelines, &kept);
        if !ranges.is_empty() && !arguments.dry_run {
            let _ = repository.expire_log(&ExpireBody {
                source: log.source.clone(),
                system: log.system,
                ranges: ranges.clone(),
                reason: format!(
                    "no base backup needs it for {} before the newest",
                    render::span(within_ms / 1000)
                ),
            })?;
        }
        tell(context, &log, &ranges, arguments.dry_run);
    }
    Ok(Outcome::Done)
}

/// Where recovery begins from each of these snapshots, all of [`ENGINE`].
pub(super) fn bases<'s>(
    repository: &Repository,
    physical: impl IntoIterator<Item = &'s Snapshot>,
) -> anyhow::Result<Vec<Base>> {
    let reader = Reader::new(repository);
    let mut bases = Vec::new();
    for snapshot in physical {
        let cluster = PhysicalSnapshot::open(&reader, snapshot)?;
        // One that cannot be read as such stops this: what it needs is not known.
        let (system, first) = cluster.system_identifier().zip(cluster.first_segment()).ok_or_else(|| {
            anyhow::anyhow!("snapshot {} does not say where recovery begins", snapshot.id().short())
        })?;
        bases.push(Base { system, time_ms: snapshot.time_ms(), first });
    }
    Ok(bases)
}

/// Where recovery begins: from the base backups of the time that counts, and from the newest before it.
fn kept(bases: &[Base], system: u64, within_ms: i64) -> Vec<Segment> {
    let mut own: Vec<&Base> = bases.iter().filter(|base| base.system == system).collect();
    own.sort_by_key(|base| std::cmp::Reverse(base.time_ms));
    let Some(newest) = own.first() else { return Vec::new() };
    let since_ms = newest.time_ms.saturating_sub(within_ms);
    let within = own.iter().take_while(|base| base.time_ms >= since_ms).count();
    own.iter().take(within + 1).map(|base| base.first).collect()
}

fn tell(context: &Context<'_>, log: &LogArchive, ranges: &[SegmentRange], is_dry_run: bool) {
    let name = |timeline, place| Segment { timeline, place }.to_string();
    for range in ranges {
        let (first, last) = (name(range.timeline, range.first), name(range.timeline, range.last));
        if context.global.json {
            context.json(&json!({
                "type": "wal_expire", "source": log.source, "system_identifier": log.system.to_string(), "timeline": range.timeline,
                "first": first, "last": last, "dry_run": is_dry_run,
            }));
        } else {
            let done = if is_dry_run { "would expire" } else { "expired" };
            line!("{done} {first} to {last} of {}, system {}", render::safe(&log.source), log.system);
        }
    }
    if ranges.is_empty() {
        context.terminal.say(&format!(
            "all of {}, system {}, is needed",
            render::safe(&log.source),
            log.system
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_before_the_window_is_kept_too() {
        let base = |day: i64, system| Base {
            system,
            time_ms: day * 86_400_000,
            first: Segment { timeline: 1, place: day.unsigned_abs() },
        };
        let bases = [base(1, 1), base(5, 1), base(9, 1), base(10, 1), base(3, 2)];
        let places = |days: i64, system| -> Vec<u64> {
            kept(&bases, system, days * 86_400_000).iter().map(|segment| segment.place).collect()
        };
        assert_eq!(places(0, 1), [10, 9]);
        assert_eq!(places(1, 1), [10, 9, 5]);
        assert_eq!(places(100, 1), [10, 9, 5, 1]);
        assert_eq!(places(1, 2), [3]);
        assert!(places(1, 3).is_empty());
    }
}
