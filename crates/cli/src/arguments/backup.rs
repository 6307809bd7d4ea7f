//! Of `backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::hooks::HookArguments;
use super::opensearch::BackupOpensearch;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(subcommand)]
    pub(crate) engine: Engine,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Engine {
    /// Files and folders
    Files(BackupFiles),
    /// One stream from standard input
    Stdin(BackupStdin),
    /// PostgreSQL: databases, one entry per table, with roles and tablespaces; or a whole cluster (--physical)
    Postgres(BackupPostgres),
    /// OpenSearch: indices with settings and aliases, one stream of documents per shard; templates, pipelines and scripts
    Opensearch(BackupOpensearch),
    /// Redis or Valkey: all keys of a server or cluster, one entry per database
    Redis(super::BackupRedis),
    /// ClickHouse: databases with their definitions, one entry per partition
    Clickhouse(super::clickhouse::BackupClickHouse),
    /// Data directory of a node as of one moment: SQLite, RocksDB and LevelDB, with the block height
    Ledger(Box<super::BackupLedger>),
    /// Bucket of S3 or MinIO: all objects, with versions, metadata and tags
    S3(super::BackupS3),
    /// Output of commands that run side by side, as one snapshot
    Command(BackupCommand),
}

/// What every backup takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackupCommon {
    /// Name of what is backed up; snapshots are grouped by it (default: the paths, or the stream's name)
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Tag of the new snapshot; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Name of this host
    #[arg(long, env = "STRONGROOM_HOST", value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// zstd level: 1 (fast) to 19 (small), 0 for none
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(0..=19), value_name = "LEVEL")]
    pub(crate) compression: i32,
    /// Store changed data whole, not as deltas against an earlier snapshot
    #[arg(long)]
    pub(crate) no_delta: bool,
    /// On a write-only host: keep the data keys of its own last runs in the cache, as many as the policy allows (`policy set`),
    /// so that it can store deltas. Whoever takes over this host can read what these runs stored
    #[arg(long, env = "STRONGROOM_KEEP_BASE_KEYS", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) keep_base_keys: bool,
    /// Threads that hash, compress and encrypt (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    #[command(flatten)]
    pub(crate) hooks: HookArguments,
}

#[derive(Debug, Args)]
pub(crate) struct BackupFiles {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
    /// Exclude paths that match (gitignore rules); may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Exclude paths that match a pattern of this file, one per line; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,
    /// Exclude the content of folders with a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Exclude the content of folders that contain this file; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<std::ffi::OsString>,
    /// Stay on the file systems of the given paths
    #[arg(long, short = 'x')]
    pub(crate) one_file_system: bool,
    /// Read every file, even if it seems unchanged since the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupStdin {
    /// Name of the stream: `dump.sql`
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
    /// Accept an empty stream
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.help("Connections over which the tables of one database are read side by side, under one snapshot, as pg_dump --jobs (with --physical: threads)")))]
pub(crate) struct BackupPostgres {
    /// The server, as libpq takes it: a URL, or `key=value` pairs (default: the PG* variables, the service file, .pgpass)
    #[arg(long, short = 'd', env = "DATABASE_URL", hide_env_values = true, value_name = "CONNINFO")]
    pub(crate) dbname: Option<String>,
    /// The whole cluster as it lies in its data directory, on the server's own host, as its user or as root
    #[arg(long, conflicts_with_all = ["database", "schema", "table", "exclude_schema", "exclude_table", "exclude_table_data", "fingerprints"])]
    pub(crate) physical: bool,
    /// With --physical: let the server send its files, through `pg_basebackup`; from version 17 on, with summarize_wal, only what
    /// changed since the last snapshot. The role needs REPLICATION and pg_monitor
    #[arg(long, requires = "physical")]
    pub(crate) remote: bool,
    /// With --physical: read every file, even if it seems unchanged since the last snapshot
    #[arg(long, requires = "physical")]
    pub(crate) force: bool,
    /// Only this database, without roles and tablespaces; may be repeated (default: all of them)
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Vec<String>,
    /// Only schemas that match, as `pg_dump --schema`; of the connection's database if no other is named. May be repeated, like
    /// all below
    #[arg(long, short = 'n', value_name = "PATTERN")]
    pub(crate) schema: Vec<String>,
    /// Only tables that match, as `pg_dump --table`
    #[arg(long, short = 't', value_name = "PATTERN")]
    pub(crate) table: Vec<String>,
    /// Exclude schemas that match
    #[arg(long, short = 'N', value_name = "PATTERN")]
    pub(crate) exclude_schema: Vec<String>,
    /// Exclude tables that match
    #[arg(long, short = 'T', value_name = "PATTERN")]
    pub(crate) exclude_table: Vec<String>,
    /// Exclude the rows of tables that match
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude_table_data: Vec<String>,
    /// Store an order-independent checksum of each table's rows
    #[arg(long)]
    pub(crate) fingerprints: bool,
    /// Databases to dump side by side
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub(crate) dumps: u16,
    /// Folder of pg_dump and the others (default: those of the server's version, in PATH or where packages put them)
    #[arg(long, env = "STRONGROOM_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}

#[derive(Debug, Args)]
pub(crate) struct BackupCommand {
    /// Name of the stream that the command after `--` writes
    #[arg(long, value_name = "NAME", requires = "command")]
    pub(crate) name: Option<String>,
    /// Stream and the shell command that writes it; may be repeated
    #[arg(long, value_name = "NAME=CMD", value_parser = parse_stream)]
    pub(crate) stream: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
    /// Accept empty streams
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", requires = "name")]
    pub(crate) command: Vec<String>,
}

fn parse_stream(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && !command.trim().is_empty() => {
            Ok((name.to_owned(), command.to_owned()))
        }
        _ => Err("write NAME=CMD".into()),
    }
}
