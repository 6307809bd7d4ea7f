//! Of commands that show and restore what there is.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Snapshots {
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only of this host
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Only with this tag; may be repeated: any of them
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Only the latest N of each source
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    pub(crate) latest: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Snapshot: an ID (any unique prefix), `latest`, `latest:SOURCE`, `latest@TIME`
    #[arg(default_value = "latest", value_name = "ID")]
    pub(crate) snapshot: String,
    /// Only entries below this path
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// With modes, owners, sizes and times
    #[arg(long, short = 'l')]
    pub(crate) long: bool,
    /// Do not descend into folders
    #[arg(long)]
    pub(crate) flat: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// Patterns: a name or a path with `*`, `?`, `**`, `[...]`, `{a,b}`
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) pattern: Vec<String>,
    /// Only in this snapshot; may be repeated
    #[arg(long, short = 's', value_name = "ID")]
    pub(crate) snapshot: Vec<String>,
    /// Ignore case
    #[arg(long, short = 'i')]
    pub(crate) ignore_case: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The older snapshot
    #[arg(value_name = "ID")]
    pub(crate) first: String,
    /// The newer one
    #[arg(default_value = "latest", value_name = "ID")]
    pub(crate) second: String,
    /// Also show entries that differ only in metadata
    #[arg(long)]
    pub(crate) metadata: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Snapshot
    #[arg(default_value = "latest", value_name = "ID")]
    pub(crate) snapshot: String,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Snapshot: an ID (any unique prefix), `latest`, `latest:SOURCE`, `latest@TIME`
    #[arg(value_name = "ID", required_unless_present = "at_height")]
    pub(crate) snapshot: Option<String>,
    /// Ledger: the newest snapshot at this block height or below
    #[arg(long, value_name = "N", conflicts_with = "snapshot")]
    pub(crate) at_height: Option<u64>,
    /// With --at-height: the source
    #[arg(long, value_name = "NAME", requires = "at_height")]
    pub(crate) source: Option<String>,
    /// Folder to restore into: new or empty, unless --overwrite says otherwise
    #[arg(long, short = 't', value_name = "DIR", required_unless_present_any = ["dry_run", "to", "to_archive"])]
    pub(crate) target: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: RestoreToServer,
    #[command(flatten)]
    pub(crate) recovery: RecoveryArguments,
    /// Restore the content of this folder of the snapshot, without the folders above it
    #[arg(long, value_name = "PATH")]
    pub(crate) subtree: Option<String>,
    /// Only what matches a path or a pattern with `*` (Redis with --to: keys; bucket with --to: key prefixes or patterns); may be repeated
    #[arg(long, short = 'i', value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Exclude what matches; may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// What to do with files that exist already; files that are not in the snapshot are never touched
    #[arg(long, value_enum, default_value_t = OverwritePolicy::Never, value_name = "POLICY")]
    pub(crate) overwrite: OverwritePolicy,
    /// Into a folder that holds another state of the same data: compare, fetch and write only what differs, and DELETE what the
    /// snapshot does not have
    #[arg(long, conflicts_with_all = ["overwrite", "include", "exclude", "to", "to_archive", "dry_run"])]
    pub(crate) delta: bool,
    /// Restore numeric owners, even if their names exist here with other numbers
    #[arg(long)]
    pub(crate) numeric_ids: bool,
    /// Write blocks of zeros as holes, even if the original file had none
    #[arg(long)]
    pub(crate) sparse: bool,
    #[command(flatten)]
    pub(crate) thaw: Thaw,
    /// Only print what would be restored, with sizes
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Threads (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    #[command(flatten)]
    pub(crate) hooks: super::hooks::HookArguments,
}

/// Restoring into a server.
#[derive(Debug, Args)]
pub(crate) struct RestoreToServer {
    /// Server to restore into: a URL that fits the snapshot (PostgreSQL also takes `key=value` pairs)
    #[arg(long, value_name = "URL", hide_env_values = true, conflicts_with_all = ["target", "subtree", "dry_run"])]
    pub(crate) to: Option<String>,
    /// Write a PostgreSQL archive for pg_restore, or a Redis dump, to this file (`-`: standard output)
    #[arg(long, value_name = "FILE", value_parser = super::parsers::path_parser(), conflicts_with_all = ["to", "target", "subtree", "include", "exclude", "dry_run"])]
    pub(crate) to_archive: Option<PathBuf>,
    /// Database of the snapshot, if it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Only this table (`TABLE`, `SCHEMA.TABLE`), with its partitions, sequences, keys, indexes, triggers and rights; may be
    /// repeated
    #[arg(long, value_name = "TABLE", requires = "to", conflicts_with = "create")]
    pub(crate) table: Vec<String>,
    /// ClickHouse: only the partition with this ID; may be repeated
    #[arg(long, value_name = "ID", requires = "to")]
    pub(crate) partition: Vec<String>,
    /// ClickHouse: of a cluster that was backed up in shards, only shard I of N (default: the rows of all shards together)
    #[arg(long, value_name = "I/N", requires = "to", value_parser = super::group::parse_shard)]
    pub(crate) shard: Option<strongroom_repository::share::Share>,
    /// Restore under another name; may be repeated. ClickHouse: DATABASE.TABLE=DATABASE.TABLE. OpenSearch: a regular expression for
    /// whole names, `logs-(.+)=restored-logs-$1`
    #[arg(long, value_name = "OLD=NEW", requires = "to")]
    pub(crate) rename: Vec<String>,
    /// OpenSearch: switch the snapshot's aliases to what was restored, at the end and in one step
    #[arg(long, requires = "to")]
    pub(crate) switch_aliases: bool,
    /// PostgreSQL: only this schema; may be repeated
    #[arg(long, value_name = "SCHEMA", requires = "to", conflicts_with = "create")]
    pub(crate) schema: Vec<String>,
    /// PostgreSQL: exclude this table (`TABLE` or `SCHEMA.TABLE`) and what belongs to it; may be repeated
    #[arg(long, value_name = "TABLE", requires = "to", conflicts_with = "create")]
    pub(crate) exclude_table: Vec<String>,
    /// Database to restore into, a name or number (default: that of --to)
    #[arg(long, value_name = "NAME", requires = "to")]
    pub(crate) into: Option<String>,
    /// PostgreSQL: create the database first, under its old name
    #[arg(long, requires = "to", conflicts_with = "into")]
    pub(crate) create: bool,
    /// Drop existing objects and restore them. Ledger with --target: in one step, keeping what --exclude names
    #[arg(long, conflicts_with_all = ["to_archive", "dry_run", "delta", "overwrite", "subtree"])]
    pub(crate) drop_existing: bool,
    #[command(flatten)]
    pub(crate) s3: super::S3Connection,
    /// Bucket: first apply the versioning, tags and policy of the original
    #[arg(long, requires = "to")]
    pub(crate) with_configuration: bool,
    /// Bucket: no older versions
    #[arg(long, requires = "to")]
    pub(crate) current_only: bool,
    /// Redis: write appendonlydir/, for a server with `appendonly yes` (default: dump.rdb)
    #[arg(long, requires = "target")]
    pub(crate) aof: bool,
    /// PostgreSQL: in one transaction, all or nothing
    #[arg(long, requires = "to", conflicts_with = "create")]
    pub(crate) single_transaction: bool,
    /// PostgreSQL, ClickHouse: definitions only
    #[arg(long, requires = "to", conflicts_with = "data_only")]
    pub(crate) schema_only: bool,
    /// PostgreSQL, ClickHouse: data only
    #[arg(long, requires = "to")]
    pub(crate) data_only: bool,
    /// PostgreSQL: disable triggers while data is loaded
    #[arg(long, requires = "data_only")]
    pub(crate) disable_triggers: bool,
    /// PostgreSQL: do not restore ownership
    #[arg(long, requires = "to")]
    pub(crate) no_owner: bool,
    /// PostgreSQL: do not restore privileges
    #[arg(long, requires = "to")]
    pub(crate) no_privileges: bool,
    /// PostgreSQL, physical: put this tablespace into that folder (default: where it was); may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = super::parsers::parse_tablespace, conflicts_with_all = ["to", "to_archive"])]
    pub(crate) tablespace: Vec<(String, PathBuf)>,
    /// PEM file with the CA certificates to trust instead of the system's (PostgreSQL: `sslrootcert` in the URL)
    #[arg(long, value_name = "FILE", requires = "to", value_parser = super::parsers::path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    /// Redis, with --to: folder of the sealed temporary file of values that do not fit in memory (default: the system's for
    /// temporary files)
    #[arg(long, env = "STRONGROOM_SCRATCH_DIR", value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// PostgreSQL: folder of pg_restore (default: that of the server's version)
    #[arg(long, env = "STRONGROOM_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}

/// What to do about packs in cold storage.
#[derive(Debug, Args)]
pub(crate) struct Thaw {
    /// Days that thawed packs of cold storage stay readable
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), value_name = "DAYS")]
    pub(crate) thaw_days: u32,
    /// Request packs from cold storage, but do not wait for them
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverwritePolicy {
    /// The target must be new or empty
    Never,
    /// Files of the same size and time are not touched
    IfChanged,
    /// Only files that are older than the snapshot's are replaced
    IfNewer,
    /// All files are overwritten
    Always,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Snapshot
    #[arg(value_name = "ID")]
    pub(crate) snapshot: String,
    /// File or stream (bucket: also an object's key); may be omitted if there is only one
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) thaw: Thaw,
}

#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// An empty folder
    #[arg(value_name = "DIR", value_parser = super::parsers::path_parser())]
    pub(crate) folder: PathBuf,
    /// Show only these snapshots (repeated)
    #[arg(long = "snapshot", value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Show only snapshots of these sources (repeated)
    #[arg(long = "source", value_name = "NAME")]
    pub(crate) sources: Vec<String>,
    /// Allow other users, each as the modes of the files permit (needs `user_allow_other` in /etc/fuse.conf)
    #[arg(long)]
    pub(crate) allow_other: bool,
}

/// How far a restored cluster recovers from its log archive.
#[derive(Debug, Args)]
pub(crate) struct RecoveryArguments {
    /// PostgreSQL, physical: recover from the WAL archive up to this time (RFC 3339, or local time)
    #[arg(long, value_name = "TIME", group = "recovery_target")]
    pub(crate) target_time: Option<String>,
    /// PostgreSQL, physical: recover up to this LSN
    #[arg(long, value_name = "LSN", group = "recovery_target")]
    pub(crate) target_lsn: Option<String>,
    /// PostgreSQL, physical: recover up to this restore point
    #[arg(long, value_name = "NAME", group = "recovery_target")]
    pub(crate) target_name: Option<String>,
    /// PostgreSQL, physical: recover up to the end of the WAL archive
    #[arg(long, group = "recovery_target")]
    pub(crate) target_latest: bool,
    /// PostgreSQL, physical: stop just before the target
    #[arg(long, requires = "recovery_target")]
    pub(crate) target_exclusive: bool,
    /// PostgreSQL, physical: timeline to follow: a number, `latest`, or `current` (the snapshot's)
    #[arg(long, value_name = "TIMELINE", default_value = "latest")]
    pub(crate) timeline: String,
    /// PostgreSQL, physical: what the server does at the target
    #[arg(long, value_name = "ACTION", value_parser = ["promote", "pause", "shutdown"], default_value = "promote")]
    pub(crate) target_action: String,
    /// PostgreSQL, physical: source of the WAL archive
    #[arg(long, value_name = "NAME", default_value = super::wal::DEFAULT_SOURCE)]
    pub(crate) wal_source: String,
    /// PostgreSQL, physical: restore_command (default: this program's `wal-get`)
    #[arg(long, value_name = "COMMAND", requires = "recovery_target")]
    pub(crate) restore_command: Option<String>,
}
