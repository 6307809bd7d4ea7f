//! The arguments, and from them help and completions.

mod administration;
mod audit;
mod backup;
mod clickhouse;
mod config;
mod copy;
mod group;
mod hold;
mod hooks;
mod ledger;
mod maintenance;
mod monitor;
mod opensearch;
mod parsers;
mod reading;
mod redis;
mod report;
mod run;
mod s3;
mod serve;
mod store;
mod verify;
mod wal;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::administration::{
    GrantArgument, Init, Key, KeyAction, Policy, PolicyAction, RoleArgument, Switch,
};
pub(crate) use self::audit::{Audit, Drill, DrillAction, DrillRecord};
pub(crate) use self::backup::{
    Backup, BackupCommand, BackupCommon, BackupFiles, BackupPostgres, BackupStdin, Engine,
};
pub(crate) use self::clickhouse::BackupClickHouse;
pub(crate) use self::config::{Config, ConfigAction, ConfigCheck};
pub(crate) use self::copy::{Copy, CopyArguments, CopyLogs, Other, Sync};
pub(crate) use self::group::{Commit, GroupArguments};
pub(crate) use self::hold::{Hold, HoldAction};
pub(crate) use self::hooks::HookArguments;
pub(crate) use self::ledger::{BackupLedger, Integrity};
pub(crate) use self::maintenance::{
    Check, Forget, Journal, JournalAction, ObjectLock, ObjectLockAction, Prune, Repair, RepairAction, Tag,
};
pub(crate) use self::monitor::Monitor;
pub(crate) use self::opensearch::BackupOpensearch;
use self::parsers::{parse_memory, path_parser};
pub(crate) use self::reading::{
    Cat, Diff, Find, Ls, Mount, OverwritePolicy, RecoveryArguments, Restore, Show, Snapshots, Thaw,
};
pub(crate) use self::redis::BackupRedis;
pub(crate) use self::report::{Report, ReportFormat};
pub(crate) use self::run::Run;
pub(crate) use self::s3::{BackupS3, S3Connection};
pub(crate) use self::serve::Serve;
pub(crate) use self::store::StoreArguments;
pub(crate) use self::verify::Verify;
pub(crate) use self::wal::{Wal, WalAction, WalAgent, WalExpire, WalGet, WalList, WalPush, WalReceive};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done (some files could not be read; a WAL archive lags), 4 damage found, \
5 wrong key or no access, 6 no such snapshot, 130 and 143 interrupted. `wal-get` has its own: see its help.";

/// Encrypted, deduplicating backups of databases and ledgers.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, about, after_help = EXIT_CODES, propagate_version = true, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file: the repository, sources and schedules. The command line and the environment override it
    #[arg(long, short = 'c', env = "STRONGROOM_CONFIG", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) config: Option<PathBuf>,
    /// Those of these options that the command line itself had: for commands that this one starts.
    #[arg(skip)]
    pub(crate) own_words: Vec<String>,
    /// The repository: a folder, s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX
    #[arg(long, short = 'r', env = "STRONGROOM_REPO", global = true, value_name = "REPO")]
    pub(crate) repo: Option<String>,
    /// Key file to open the repository with, symmetric or X25519 (default: the one that `init` made for this user)
    #[arg(long, env = "STRONGROOM_KEY_FILE", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) key_file: Option<PathBuf>,
    /// File whose first line is the passphrase (the passphrase itself may be in STRONGROOM_PASSPHRASE)
    #[arg(long, env = "STRONGROOM_PASSPHRASE_FILE", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Name of the writer to act as, if the key opens more than one (default: this host's name)
    #[arg(long, env = "STRONGROOM_WRITER", global = true, value_name = "NAME")]
    pub(crate) writer: Option<String>,
    /// Refuse a repository with another fingerprint
    #[arg(long, env = "STRONGROOM_FINGERPRINT", global = true, value_name = "HEX")]
    pub(crate) fingerprint: Option<String>,
    /// Folder for local caches, which may be deleted at any time (default: $XDG_CACHE_HOME/strongroom)
    #[arg(long, env = "STRONGROOM_CACHE_DIR", global = true, value_name = "DIR", value_parser = path_parser())]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Folder for data that is not yet in the repository: received WAL, records of dropped WAL (default:
    /// $XDG_STATE_HOME/strongroom)
    #[arg(long, env = "STRONGROOM_STATE_DIR", global = true, value_name = "DIR", value_parser = path_parser())]
    pub(crate) state_dir: Option<PathBuf>,
    /// Keep no cache on disk
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
    /// Hard limit on memory: 512M, 2G. What needs more is refused before anything begins
    #[arg(long, env = "STRONGROOM_MEMORY", global = true, value_name = "SIZE", default_value = "512MiB", value_parser = parse_memory)]
    pub(crate) memory: u64,
    /// Refuse to read stored data unless the audit trail notes it first
    #[arg(long, global = true)]
    pub(crate) require_audit: bool,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Print JSON, one object per line, to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only results, warnings and errors
    #[arg(long, short = 'q', global = true)]
    pub(crate) quiet: bool,
    /// Print at the end, to standard error, how long each stage took
    #[arg(long, global = true)]
    pub(crate) timings: bool,
    /// When to show progress; `always` with --json prints a JSON object per second
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto, value_name = "WHEN")]
    pub(crate) progress: Progress,
}

impl Global {
    /// Takes what is set to nothing for not set, as the line `STRONGROOM_KEY_FILE=` of a service file means it.
    pub(crate) fn without_empty(mut self) -> Self {
        self.repo = self.repo.filter(|text| !text.is_empty()).or_else(repository_of_scripts);
        self.fingerprint = self.fingerprint.filter(|text| !text.is_empty());
        self.writer = self.writer.filter(|text| !text.is_empty());
        let store = &mut self.store;
        for text in [
            &mut store.hot_store,
            &mut store.region,
            &mut store.endpoint,
            &mut store.storage_class,
            &mut store.sse_kms_key,
        ] {
            text.take_if(|text| text.is_empty());
        }
        // As all AWS tools have it.
        store.ca_cert = store.ca_cert.take().or_else(|| std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from));
        let paths = [
            &mut self.config,
            &mut self.key_file,
            &mut self.passphrase_file,
            &mut self.cache_dir,
            &mut self.state_dir,
            &mut store.ca_cert,
        ];
        for path in paths {
            path.take_if(|path| path.as_os_str().is_empty());
        }
        self
    }
}

/// Variables of scripts that name a bucket.
pub(crate) const BUCKET_VARIABLES: [&str; 2] = ["BACKUP_S3_BUCKET", "BACKUP_BUCKET"];

/// Where a repository is that nothing else says: beside what scripts stored in their bucket.
fn repository_of_scripts() -> Option<String> {
    let bucket = BUCKET_VARIABLES.iter().find_map(|name| {
        std::env::var(name).ok().map(|bucket| bucket.trim().to_owned()).filter(|bucket| !bucket.is_empty())
    })?;
    Some(if bucket.contains("://") { bucket } else { format!("s3://{bucket}/strongroom") })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// On a terminal
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a repository
    Init(Init),
    /// Back up files, databases, standard input, or the output of commands
    Backup(Backup),
    /// Join the parts that the workers of a group stored (`backup ... --shard I/N --group NAME`) to one snapshot
    Commit(Commit),
    /// Run what the configuration asks for, once: backups, restore tests, forget, sync, prune, check
    Run(Run),
    /// Report what failed, what is late and what is untested; alerts, and metrics for Prometheus
    Monitor(Monitor),
    /// Run what the configuration asks for on its schedules, with metrics, health checks and a web page
    Serve(Serve),
    /// Write the compliance report of a period: RPO, RTO, restore tests, drills, retention, audit trail
    Report(Report),
    /// Record and list recovery drills
    Drill(Drill),
    /// Show the audit trail: who did what, where, when, and how it ended
    Audit(Audit),
    /// List snapshots
    Snapshots(Snapshots),
    /// List the entries of a snapshot
    Ls(Ls),
    /// Find entries by name in all snapshots
    Find(Find),
    /// Show the differences between two snapshots
    Diff(Diff),
    /// Show everything about one snapshot
    Show(Show),
    /// Count what the repository holds
    Stats,
    /// Test a restore: of a database into a scratch server, comparing all that is known of it; of files and streams by reading
    /// all of it
    Verify(Verify),
    /// Restore a snapshot into a folder or a server
    Restore(Box<Restore>),
    /// Write one file or stream of a snapshot to standard output
    Cat(Cat),
    /// Mount snapshots as a folder (FUSE), to browse them and copy single files out
    Mount(Mount),
    /// Check the repository for damage
    Check(Check),
    /// Add or remove tags of snapshots
    Tag(Tag),
    /// Place and remove holds: what is held cannot be forgotten, whatever a policy says
    Hold(Hold),
    /// Remove snapshots from the repository
    Forget(Forget),
    /// Free space that no snapshot needs: retire it, and delete it after a grace period
    Prune(Prune),
    /// Copy snapshots and WAL archives of another repository into this one
    Copy(Copy),
    /// Copy everything that is missing from another repository into this one, or the other way round
    Sync(Sync),
    /// Manage who may open the repository and who may write to it
    Key(Key),
    /// Show and set how writers store data: deltas, parity
    Policy(Policy),
    /// Check, show and import configurations
    Config(Config),
    /// Verify, export and settle the journal
    Journal(Journal),
    /// Repair indexes, packs, snapshots and overwritten objects
    Repair(Repair),
    /// Renew S3 Object Lock
    ObjectLock(ObjectLock),
    /// Archive a PostgreSQL WAL file (archive_command)
    WalPush(WalPush),
    #[command(hide = true)]
    WalAgent(WalAgent),
    /// Fetch a PostgreSQL WAL file from the archive (restore_command)
    WalGet(WalGet),
    /// List, receive and expire WAL archives
    Wal(Wal),
    /// Write manual pages, one per command
    Man {
        /// Folder to write to (default: only the page of the program itself, to standard output)
        #[arg(long, value_name = "DIR", value_parser = path_parser())]
        output: Option<PathBuf>,
    },
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Try the main job: three daily snapshots of a generated ledger, a restore, a check
    Quickstart {
        /// New folder for all of it (default: one below the system's temporary folder)
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}
