//! How far a restored cluster is to recover, and whether the log archive leads there.

use anyhow::Context as _;
use jiff::Timestamp;
use strongroom_engines::postgres::physical::{PhysicalSnapshot, Recovery, Until};
use strongroom_format::wal_file::Segment;
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;

use crate::arguments::RecoveryArguments;
use crate::context::Context;
use crate::exit::Usage;
use crate::{again, credentials, render, selector};

/// What was asked for; `None` if the cluster is to be as of its backup's end.
pub(super) fn of(
    context: &Context<'_>,
    arguments: &RecoveryArguments,
    repository: &Repository,
    cluster: &PhysicalSnapshot<'_>,
) -> anyhow::Result<Option<Recovery>> {
    let until = if let Some(time) = &arguments.target_time {
        let time_ms = selector::time_ms(time)?;
        let text = Timestamp::from_millisecond(time_ms).context("no server knows this moment")?;
        Until::Time { time_ms, text: text.strftime("%Y-%m-%d %H:%M:%S.%3f+00").to_string() }
    } else if let Some(position) = &arguments.target_lsn {
        Until::Lsn(position.clone())
    } else if let Some(name) = &arguments.target_name {
        Until::Name(name.clone())
    } else if arguments.target_latest {
        Until::Latest
    } else {
        return Ok(None);
    };
    let is_timeline = ["latest", "current"].contains(&arguments.timeline.as_str())
        || arguments.timeline.parse::<u32>().is_ok_and(|timeline| timeline > 0);
    if !is_timeline {
        return Err(Usage(format!(
            "`{}` is no timeline: write a number, latest or current",
            arguments.timeline
        ))
        .into());
    }
    let restore_command = match &arguments.restore_command {
        Some(command) => command.clone(),
        None => {
            let reach = reach(repository, cluster, &arguments.wal_source)?;
            context.terminal.say(&format!(
                "the log archive of source {} reaches without a gap to {reach}",
                arguments.wal_source
            ));
            if let Some(why) = out_of_reach(repository, cluster, &arguments.wal_source, &until)? {
                context.terminal.warn(&why);
            }
            restore_command(context, repository, cluster, &arguments.wal_source)?
        }
    };
    Ok(Some(Recovery {
        restore_command,
        until,
        is_exclusive: arguments.target_exclusive,
        timeline: arguments.timeline.clone(),
        action: arguments.target_action.clone(),
    }))
}

/// The last segment of the cluster's log that recovery gets to along the snapshot's own timeline.
pub(super) fn reach(
    repository: &Repository,
    cluster: &PhysicalSnapshot<'_>,
    source: &str,
) -> anyhow::Result<Segment> {
    let nothing = || {
        format!(
            "the log archive of source `{source}` has nothing of this cluster behind its backup: is that the source of its wal-push (--wal-source)?"
        )
    };
    let (own, segment_bytes) = cluster.last_segment().with_context(nothing)?;
    let archives = repository.log_archives(Some(source))?;
    let system = cluster.system_identifier().with_context(nothing)?;
    let log = archives.archives.iter().find(|log| log.system == system).with_context(nothing)?;
    let line = log.timelines.iter().find(|line| line.timeline == own.timeline).with_context(nothing)?;
    let (first, last) = (line.first.with_context(nothing)?, line.last.with_context(nothing)?);
    let gap = line.gaps.iter().find(|gap| gap.last > own && gap.first <= last);
    // The snapshot brings its own segments: the archive must go on right behind them.
    let next = own
        .position(segment_bytes)
        .map(|start| Segment::at(own.timeline, start + segment_bytes, segment_bytes));
    if next.is_some_and(|next| first > next) || last < own {
        anyhow::bail!(nothing());
    }
    let before = |segment: Segment| {
        let start = segment.position(segment_bytes)?.checked_sub(segment_bytes)?;
        Some(Segment::at(segment.timeline, start, segment_bytes))
    };
    Ok(gap.and_then(|gap| before(gap.first)).unwrap_or(last))
}

/// Why recovery would not get to its target, as the log archive is now: a server that finds its end first does not start.
fn out_of_reach(
    repository: &Repository,
    cluster: &PhysicalSnapshot<'_>,
    source: &str,
    until: &Until,
) -> anyhow::Result<Option<String>> {
    let Until::Time { time_ms, text } = until else { return Ok(None) };
    let archives = repository.log_archives(Some(source))?;
    let of_cluster = archives.archives.iter().filter(|log| cluster.system_identifier() == Some(log.system));
    let newest = of_cluster
        .flat_map(|log| &log.timelines)
        .filter_map(|line| line.newest)
        .max_by_key(|file| file.time_ms);
    let newest = newest.filter(|newest| i64::try_from(newest.time_ms).is_ok_and(|newest| newest < *time_ms));
    Ok(newest.map(|newest| {
        format!(
            "nothing in the log archive is as late as {text}: {} came last, at {}. Unless more comes, the server ends with `recovery ended before configured recovery target was reached`; --target-latest recovers all there is",
            newest.file,
            render::rfc3339_ms(i64::try_from(newest.time_ms).unwrap_or(i64::MAX))
        )
    }))
}

/// This program, told all that it was told: the server's environment is another.
fn restore_command(
    context: &Context<'_>,
    repository: &Repository,
    cluster: &PhysicalSnapshot<'_>,
    source: &str,
) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("where is this program?")?;
    let mut words = vec![quoted(&program.to_string_lossy()), "wal-get".into()];
    let default_key =
        credentials::default_key_file(&repository.fingerprint()).ok().filter(|key| key.exists());
    for word in again::words(context.global, default_key.as_deref())? {
        words.push(quoted(&word));
    }
    words.push(format!("--source {}", quoted(source)));
    if let Some(system) = cluster.system_identifier() {
        words.push(format!("--system-identifier {system}"));
    }
    words.push("%f %p".into());
    Ok(words.join(" "))
}

/// One word for a shell, and no `%` for the server.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("/a b/c%d"), "'/a b/c%%d'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
