//! Of commands that look after a repository.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use strongroom_repository::check::JournalHead;
use strongroom_repository::prune::MaxUnused;
use strongroom_repository::retention::{Filter, GroupBy, Keep, Period, Rules};
use strongroom_repository::share::Share;

use super::group::parse_shard;
use super::parsers::{parse_bytes, parse_keep, parse_max_unused, parse_percent};
use strongroom_ops::config::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    pub(crate) action: JournalAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalAction {
    /// Acknowledge the void and unreadable entries up to now, so that checks stop reporting them
    Settle,
    /// Verify the journal from its first entry, trusting nothing that is cached here, and compare it with its checkpoints;
    /// prints its head, to be kept elsewhere
    Verify {
        /// Fail unless the journal continues from this head: the line that an earlier `verify` printed
        #[arg(long, value_name = "N:HASH")]
        expect_head: Option<JournalHead>,
    },
    /// Write all entries to standard output, oldest first, as one JSON object per line; void and damaged ones too
    Export {
        /// Start with this entry
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: u64,
        /// One JSON object per line (the only format)
        #[arg(long)]
        jsonl: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    pub(crate) action: RepairAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RepairAction {
    /// Rebuild index objects that are damaged or missing from the packs
    Index {
        /// Replace all of them
        #[arg(long)]
        all: bool,
        /// Only print what would be replaced
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Copy intact frames out of damaged packs, and stop using those packs
    Packs {
        /// Packs, by their IDs or names (default: all)
        #[arg(value_name = "PACK")]
        packs: Vec<String>,
        /// Also give up packs that are missing, and data whose keys are missing: if they turn up later, they are not used any
        /// more
        #[arg(long)]
        give_up_gone: bool,
        /// Only print what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Check, and tag the snapshots that are damaged; remove the tag from those that are whole again
    Snapshots {
        /// Also open every frame and verify every chunk
        #[arg(long)]
        read_data: bool,
        /// Make snapshots of what is intact beside the damaged ones, tagged `repaired`
        #[arg(long)]
        leave_out: bool,
        /// Forget the damaged ones once that is done
        #[arg(long, requires = "leave_out")]
        forget: bool,
        /// Only print what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Bring back what was overwritten or deleted in a bucket that keeps older versions
    Versions {
        /// Only print what would be brought back
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ObjectLock {
    #[command(subcommand)]
    pub(crate) action: ObjectLockAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectLockAction {
    /// Lock what snapshots still need for the policy's period, from now on
    Extend,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Also read every pack and compare its hash with its name
    #[arg(long)]
    pub(crate) packs: bool,
    /// Use no key: read every pack and index object and compare its hash with its name
    #[arg(long, conflicts_with_all = ["read_data", "sample", "keys"])]
    pub(crate) no_key: bool,
    /// Also open every frame and verify every chunk
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read this share of the packs, `5%`, mostly those that were checked longest ago
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) sample: Option<u8>,
    /// Also open every wrapped key
    #[arg(long)]
    pub(crate) keys: bool,
    /// Be worker I of N: read only its share of packs (`auto/N` in a Kubernetes Indexed Job). All check the journal and the index;
    /// the first checks trees and keys
    #[arg(long, value_name = "I/N", value_parser = parse_shard, conflicts_with = "no_key")]
    pub(crate) shard: Option<Share>,
    /// Threads (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Snapshots
    #[arg(required = true, value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Tag to add; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) add: Vec<String>,
    /// Tag to remove; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) remove: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Snapshots to forget. Without any, the --keep-... options decide, or else the configuration (--config)
    #[arg(value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) keep: KeepArguments,
    /// Only snapshots of this source; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots")]
    pub(crate) source: Vec<String>,
    /// Only snapshots of this host; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots")]
    pub(crate) host: Vec<String>,
    /// Only snapshots with this tag, or with all of several (`a,b`); may be repeated: any of them
    #[arg(long, value_name = "TAG[,TAG]", conflicts_with = "snapshots")]
    pub(crate) tag: Vec<String>,
    /// How snapshots are grouped for --keep-...
    #[arg(long, short = 'g', value_name = "GROUP", value_enum, default_value_t = GroupArgument::HostSource, conflicts_with = "snapshots")]
    pub(crate) group_by: GroupArgument,
    /// Reason, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    pub(crate) reason: String,
    /// Only print what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// How long retired data stays in the store, for restores that are already running: 0, 12h, 2d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    /// Age at which leftovers of unfinished runs are deleted
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    pub(crate) orphan_age: Duration,
    /// Repack when more than this much of the stored data is unused: 5%, 2GiB, unlimited
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = parse_max_unused)]
    pub(crate) max_unused: MaxUnused,
    /// Repack at most this much: 10GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) max_repack: Option<u64>,
    /// Only print what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupArgument {
    /// Each source of each host by itself
    #[value(name = "host,source", alias = "source,host")]
    HostSource,
    /// Each source by itself, whatever host took it
    Source,
    /// All together
    None,
}

impl Forget {
    /// As the repository takes it.
    pub(crate) fn rules(&self) -> Rules {
        let list = |tags: &String| tags.split(',').map(str::to_owned).collect();
        Rules {
            filter: Filter {
                sources: self.source.clone(),
                hosts: self.host.clone(),
                tags: self.tag.iter().map(list).collect(),
            },
            group_by: match self.group_by {
                GroupArgument::HostSource => GroupBy::HostAndSource,
                GroupArgument::Source => GroupBy::Source,
                GroupArgument::None => GroupBy::Nothing,
            },
            keep: self.keep.keep(),
        }
    }
}

/// What is kept of each group: by default each source of each host. The newest snapshot always is.
#[derive(Debug, Args)]
#[group(id = "keep", multiple = true, conflicts_with = "snapshots")]
pub(crate) struct KeepArguments {
    /// Keep the newest N
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_last: Option<u32>,
    /// Keep the newest of each of the last N hours that have one (N: a number, or unlimited)
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_hourly: Option<u32>,
    /// The same of days, in UTC
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_daily: Option<u32>,
    /// The same of weeks, from Monday
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_weekly: Option<u32>,
    /// The same of months
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_monthly: Option<u32>,
    /// The same of years
    #[arg(long, value_name = "N", value_parser = parse_keep)]
    pub(crate) keep_yearly: Option<u32>,
    /// Keep all snapshots taken within this time before the newest: 12h, 30d, 8w, 7y (of 365 days)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within: Option<Duration>,
    /// Of those, keep the newest of each hour
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within_hourly: Option<Duration>,
    /// The same of days
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within_daily: Option<Duration>,
    /// The same of weeks
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within_weekly: Option<Duration>,
    /// The same of months
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within_monthly: Option<Duration>,
    /// The same of years
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within_yearly: Option<Duration>,
    /// Keep all with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) keep_tag: Vec<String>,
}

impl KeepArguments {
    /// As the repository takes it.
    fn keep(&self) -> Keep {
        let counts = [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
            (Period::Year, self.keep_yearly),
        ];
        let times = [
            (Period::Hour, self.keep_within_hourly),
            (Period::Day, self.keep_within_daily),
            (Period::Week, self.keep_within_weekly),
            (Period::Month, self.keep_within_monthly),
            (Period::Year, self.keep_within_yearly),
        ];
        Keep {
            last: self.keep_last.unwrap_or_default(),
            periods: counts.into_iter().filter_map(|(period, count)| Some((period, count?))).collect(),
            within: self.keep_within,
            periods_within: times.into_iter().filter_map(|(period, time)| Some((period, time?))).collect(),
            tags: self.keep_tag.clone(),
            tags_within: Vec::new(),
        }
    }
}
