//! The arguments, and from them help and completions.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use strongroom_repository::memory::MemoryBound;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done (some files could not be read), 4 damage found,
5 wrong key or no access, 6 no such snapshot; 130 and 143 interrupted.";

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
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The repository: a folder, s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX or gs://BUCKET/PREFIX
    #[arg(long, short = 'r', env = "STRONGROOM_REPO", global = true, value_name = "REPO")]
    pub(crate) repo: Option<String>,
    /// Key file to open the repository with, of either kind (default: the one that `init` made for this user)
    #[arg(long, env = "STRONGROOM_KEY_FILE", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the passphrase, in its first line (the passphrase itself may be in STRONGROOM_PASSPHRASE)
    #[arg(long, env = "STRONGROOM_PASSPHRASE_FILE", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Which signer of the repository this is, by name, where more than one key opens (default: this host's name)
    #[arg(long, env = "STRONGROOM_WRITER", global = true, value_name = "NAME")]
    pub(crate) writer: Option<String>,
    /// Refuse a repository with another fingerprint
    #[arg(long, env = "STRONGROOM_FINGERPRINT", global = true, value_name = "HEX")]
    pub(crate) fingerprint: Option<String>,
    /// Folder of local caches (default: $XDG_CACHE_HOME/strongroom); they may be deleted at any time
    #[arg(long, env = "STRONGROOM_CACHE_DIR", global = true, value_name = "DIR", value_parser = path_parser())]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Keep no cache on disk
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
    /// Most memory to take: 512M, 2G. A repository that needs more is refused before anything begins
    #[arg(long, env = "STRONGROOM_MEMORY", global = true, value_name = "SIZE", default_value = "512MiB", value_parser = parse_memory)]
    pub(crate) memory: u64,
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// One JSON object a line on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but errors and results
    #[arg(long, short = 'q', global = true)]
    pub(crate) quiet: bool,
    /// Say at the end, on standard error, how long each stage took
    #[arg(long, global = true)]
    pub(crate) timings: bool,
    /// When to show progress
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto, value_name = "WHEN")]
    pub(crate) progress: Progress,
}

impl Global {
    /// Takes what is set to nothing for not set, as the line `STRONGROOM_KEY_FILE=` of a service file means it.
    pub(crate) fn without_empty(mut self) -> Self {
        self.repo = self.repo.filter(|text| !text.is_empty());
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
        let paths = [&mut self.key_file, &mut self.passphrase_file, &mut self.cache_dir, &mut store.ca_cert];
        for path in paths {
            path.take_if(|path| path.as_os_str().is_empty());
        }
        self
    }
}

/// How to talk to a store that is not a folder. What is not said comes from the environment, as the tools of its
/// cloud know it: `AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, `AZURE_STORAGE_ACCOUNT_NAME`, `GOOGLE_APPLICATION_CREDENTIALS`, ...
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArguments {
    /// Where everything but data packs, parity and log archives is kept, when these lie in cold storage at --repo
    #[arg(long, env = "STRONGROOM_HOT_STORE", global = true, value_name = "URL")]
    pub(crate) hot_store: Option<String>,
    /// Region of the bucket
    #[arg(long, env = "STRONGROOM_REGION", global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// URL of a service that is compatible with S3
    #[arg(long, env = "STRONGROOM_ENDPOINT", global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// PEM file of the authorities to trust, in place of the system's
    #[arg(long, env = "STRONGROOM_CA_CERT", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Name the bucket in the path (default with --endpoint) or in the host name
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) path_style: Option<bool>,
    /// Storage class of data packs: STANDARD_IA, GLACIER_IR, ...
    #[arg(long, env = "STRONGROOM_STORAGE_CLASS", global = true, value_name = "CLASS")]
    pub(crate) storage_class: Option<String>,
    /// KMS key for the bucket's own encryption (SSE-KMS), beside this program's
    #[arg(long, env = "STRONGROOM_SSE_KMS_KEY", global = true, value_name = "KEY")]
    pub(crate) sse_kms_key: Option<String>,
    /// Most bytes to write a second: 500K, 20M
    #[arg(long, global = true, value_name = "RATE", value_parser = parse_bytes)]
    pub(crate) limit_upload: Option<u64>,
    /// Most bytes to read a second
    #[arg(long, global = true, value_name = "RATE", value_parser = parse_bytes)]
    pub(crate) limit_download: Option<u64>,
    /// Most requests a second
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit_requests: Option<u32>,
    /// Most requests at once
    #[arg(long, global = true, value_name = "N", value_parser = parse_count)]
    pub(crate) connections: Option<usize>,
    /// For how long a request that fails in passing is tried again: 30s, 5m
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_for: Option<std::time::Duration>,
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err("write a number of bytes, or one with K, M or G".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a number of bytes, or one with K, M or G")?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".into())
}

/// Set to nothing means not set.
fn parse_memory(text: &str) -> Result<u64, String> {
    if text.is_empty() { Ok(MemoryBound::DEFAULT_BYTES) } else { parse_bytes(text) }
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".into())
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err("write seconds, or a number with s, m, h or d".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write seconds, or a number with s, m, h or d")?;
    number.checked_mul(unit).map(std::time::Duration::from_secs).ok_or_else(|| "out of range".into())
}

/// Any path, the empty one too.
fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
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
    /// Make a repository
    Init(Init),
    /// Back up files, standard input, or the output of commands
    Backup(Backup),
    /// List snapshots
    Snapshots(Snapshots),
    /// List the entries of a snapshot
    Ls(Ls),
    /// Find entries by name in all snapshots
    Find(Find),
    /// Show what differs between two snapshots
    Diff(Diff),
    /// Show all about one snapshot
    Show(Show),
    /// Count what the repository holds
    Stats,
    /// Restore a snapshot into a folder
    Restore(Restore),
    /// Write one file or stream of a snapshot to standard output
    Cat(Cat),
    /// Check the repository; changes nothing that is checked
    Check(Check),
    /// Add tags to snapshots, or take them off
    Tag(Tag),
    /// Take snapshots out of the repository, for good
    Forget(Forget),
    /// Free what no snapshot needs: retire it, and delete it when a grace has passed
    Prune(Prune),
    /// Say who may open the repository and who may write to it
    Key(Key),
    /// Say how writers are to store what they back up
    Policy(Policy),
    /// Look after the journal
    Journal(Journal),
    /// Mend what can be mended
    Repair(Repair),
    /// Look after S3 Object Lock
    ObjectLock(ObjectLock),
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

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Who can open and administer it: `passphrase`, `key-file:PATH` (made if missing), `aws-kms:ARN-OR-ALIAS`,
    /// `x25519:PUBLIC` (see `key generate-recovery`); may be repeated. Default: the passphrase or key file that
    /// was given, else a new key file for this user
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) recipient: Vec<String>,
    /// Keep objects from being deleted by anybody (S3 Object Lock): `compliance:30d`, `governance:30d`, and with
    /// `,keys:2555d` keys and journal for longer
    #[arg(long, value_name = "MODE:DAYS", value_parser = parse_lock)]
    pub(crate) object_lock: Option<strongroom_format::policy::ObjectLock>,
    /// Name of this host as a signer
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
}

fn parse_lock(text: &str) -> Result<strongroom_format::policy::ObjectLock, String> {
    use strongroom_format::registry::LockMode;
    let wrong = || "write compliance:30d or governance:30d, perhaps with ,keys:2555d".to_owned();
    let days = |text: &str| {
        let number = text.strip_suffix('d').and_then(|days| days.parse().ok());
        number.filter(|days| (1..=36_500).contains(days)).ok_or_else(wrong)
    };
    let (data, keys) = text.split_once(',').map_or((text, None), |(data, keys)| (data, Some(keys)));
    let (mode, data) = data.split_once(':').ok_or_else(wrong)?;
    let mode = match mode {
        "compliance" => LockMode::Compliance,
        "governance" => LockMode::Governance,
        _ => return Err(wrong()),
    };
    let data_days = days(data)?;
    let keys_days = match keys {
        Some(keys) => days(keys.strip_prefix("keys:").ok_or_else(wrong)?)?,
        None => data_days,
    };
    Ok(strongroom_format::policy::ObjectLock { mode, data_days, keys_days: keys_days.max(data_days) })
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Show who can open the repository, who may write to it, and which keys there are
    List,
    /// Let somebody else open it
    AddRecipient {
        /// `passphrase`, `key-file:PATH`, `x25519:PUBLIC` or `aws-kms:ARN-OR-ALIAS`
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
        /// What it may do: read (restore, check), or also administer
        #[arg(long, value_enum, default_value_t = GrantArgument::Read, value_name = "RIGHTS")]
        grant: GrantArgument,
        /// What people call it
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Take the right to open it away, and delete what was wrapped for that recipient
    RemoveRecipient {
        /// ID (any unique prefix), label, or as it was added
        #[arg(value_name = "RECIPIENT")]
        recipient: String,
    },
    /// Wrap for a new recipient every key that an old one has; between KMS keys without seeing them
    Rewrap {
        /// The old recipient: ID, label, or as it was added
        #[arg(long, value_name = "RECIPIENT")]
        from: String,
        /// The new one
        #[arg(long, value_name = "RECIPIENT")]
        to: String,
        /// Then remove the old one
        #[arg(long)]
        remove: bool,
    },
    /// Put a new metadata key in force: who was removed cannot read what is written from now on
    Rotate,
    /// Take a data key out of use: seal what it protects under a new one; again after a prune to delete the key
    Retire {
        /// Data key ID (any unique prefix); `show ID` names those of a snapshot
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Let a host write, without letting it read: it gets a signing key of its own
    AddWriter {
        /// Its name, best its host name
        #[arg(value_name = "NAME")]
        name: String,
        /// Where its keys are wrapped to: `x25519:PUBLIC`, `key-file:PATH`, `aws-kms:ARN-OR-ALIAS`
        #[arg(long, value_name = "RECIPIENT")]
        recipient: String,
        /// What it may do: write, maintain, verify, admin; may be repeated
        #[arg(long, value_enum, default_value = "write", value_name = "ROLE")]
        role: Vec<RoleArgument>,
        /// Source that it may write, or `*` for all; may be repeated
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
    },
    /// Take the right to write away; what it wrote stays, but for --forget
    RevokeWriter {
        /// Name, or ID (any unique prefix)
        // Not called `writer`: `--writer`, which every command takes, is.
        #[arg(value_name = "WRITER")]
        name: String,
        /// Snapshot that goes with it; may be repeated
        #[arg(long, value_name = "ID")]
        forget: Vec<String>,
    },
    /// Make a private key to be kept offline, and print its public half for --recipient
    GenerateRecovery {
        /// New file for the private key
        #[arg(value_name = "FILE", value_parser = path_parser())]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantArgument {
    Read,
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArgument {
    Write,
    Maintain,
    Verify,
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Show the rules in force
    Show,
    /// Change rules, for runs that begin from now on; what is not named stays
    #[command(group = clap::ArgGroup::new("rules").required(true).multiple(true))]
    Set {
        /// Whether what changed a little may be stored as what differs from an earlier snapshot
        #[arg(long, value_enum, value_name = "SWITCH", group = "rules")]
        deltas: Option<Switch>,
        /// Of how many of its own last runs, whatever their source, a host that may not read can keep the data keys
        /// (`backup --keep-base-keys`), so that it can store such deltas too: 0 (none) to 64. Who takes it over can read
        /// what these runs stored
        #[arg(long, value_name = "RUNS", group = "rules",
            value_parser = clap::value_parser!(u8).range(..=i64::from(strongroom_format::policy::BASE_KEYS_LIMIT)))]
        keep_base_keys: Option<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    pub(crate) action: JournalAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalAction {
    /// Declare that void and unreadable entries up to now have been looked at: checks mention them no more
    Settle,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    pub(crate) action: RepairAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RepairAction {
    /// Bring back what was overwritten or deleted in a bucket that keeps older versions
    Versions {
        /// Only tell what would be brought back
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
    /// Lock what snapshots still need for the policy's time from now on
    Extend,
}

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
    /// Streams from commands, side by side in one snapshot
    Command(BackupCommand),
}

/// What every backup takes.
#[derive(Debug, Args)]
pub(crate) struct BackupCommon {
    /// What is backed up, as snapshots are grouped (default: the paths, or the stream's name)
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
    /// Store what changed whole, not as what differs from an earlier snapshot
    #[arg(long)]
    pub(crate) no_delta: bool,
    /// On a host that may not read what it stored: keep the data keys of its own last runs in its cache, as many as the
    /// policy allows (`policy set`), to store what differs all the same. Who takes this host over can read what these
    /// runs stored
    #[arg(long, env = "STRONGROOM_KEEP_BASE_KEYS", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) keep_base_keys: bool,
    /// Threads that hash, compress and encrypt (default: one a processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupFiles {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
    /// Leave out what matches (gitignore rules); may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches a pattern of this file, one a line; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,
    /// Leave out what lies in folders with a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Leave out what lies in folders that contain this file; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<std::ffi::OsString>,
    /// Keep to the file systems of the given paths
    #[arg(long, short = 'x')]
    pub(crate) one_file_system: bool,
    /// Read every file again, also those that seem unchanged since the last snapshot
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
    /// Keep a stream without a byte
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupCommand {
    /// Name of the stream that the command after `--` writes
    #[arg(long, value_name = "NAME", requires = "command")]
    pub(crate) name: Option<String>,
    /// A stream and the shell command that writes it; may be repeated
    #[arg(long, value_name = "NAME=CMD", value_parser = parse_stream)]
    pub(crate) stream: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
    /// Keep streams without a byte
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
    /// Only the latest of each source, so many
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    pub(crate) latest: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Snapshot: an ID (any unique prefix), `latest`, `latest:SOURCE`, `latest@TIME`
    #[arg(default_value = "latest", value_name = "ID")]
    pub(crate) snapshot: String,
    /// Only what lies in this path
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// With modes, owners, sizes and times
    #[arg(long, short = 'l')]
    pub(crate) long: bool,
    /// Only the path's own entries, not what lies deeper
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
    /// Capitals and small letters are the same
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
    /// Also show entries that differ in metadata only
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
    #[arg(value_name = "ID")]
    pub(crate) snapshot: String,
    /// Folder to restore into: new or empty, unless --overwrite says otherwise
    #[arg(long, short = 't', value_name = "DIR", required_unless_present = "dry_run")]
    pub(crate) target: Option<PathBuf>,
    /// Restore what lies in this folder of the snapshot, without the folders above it
    #[arg(long, value_name = "PATH")]
    pub(crate) subtree: Option<String>,
    /// Only what matches (a path, or a pattern with `*`); may be repeated
    #[arg(long, short = 'i', value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Not what matches; may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// What happens to files that are there already; files the snapshot does not have are never touched
    #[arg(long, value_enum, default_value_t = OverwritePolicy::Never, value_name = "POLICY")]
    pub(crate) overwrite: OverwritePolicy,
    /// Restore numeric owners, also where the names exist here with other numbers
    #[arg(long)]
    pub(crate) numeric_ids: bool,
    /// Write blocks of zeros as holes, also where the backed-up file had none
    #[arg(long)]
    pub(crate) sparse: bool,
    #[command(flatten)]
    pub(crate) thaw: Thaw,
    /// Only tell what would be restored, with sizes
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Threads (default: one a processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

/// What to do about packs in cold storage.
#[derive(Debug, Args)]
pub(crate) struct Thaw {
    /// For how many days packs that are in cold storage are kept readable, once they are thawed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), value_name = "DAYS")]
    pub(crate) thaw_days: u32,
    /// Do not wait for packs that are in cold storage: ask for them, and say so
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverwritePolicy {
    /// The target must be new or empty
    Never,
    /// Files of the same size and time are left alone
    IfChanged,
    /// Only files that are older than the snapshot's are replaced
    IfNewer,
    /// Everything is written again
    Always,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Snapshot
    #[arg(value_name = "ID")]
    pub(crate) snapshot: String,
    /// File or stream; may be left out where there is only one
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) thaw: Thaw,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Also read every pack and compare its hash with its name
    #[arg(long)]
    pub(crate) packs: bool,
    /// Also open every frame and verify every chunk
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Read the data of so many packs, chosen by chance: `5%`
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) sample: Option<u8>,
    /// Also open every wrapped key
    #[arg(long)]
    pub(crate) keys: bool,
    /// Threads (default: one a processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

fn parse_percent(text: &str) -> Result<u8, String> {
    match text.trim_end_matches('%').parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err("write a percentage from 1% to 100%".into()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Snapshots
    #[arg(required = true, value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Tag to add; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) add: Vec<String>,
    /// Tag to take off; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) remove: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Snapshots
    #[arg(required = true, value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    pub(crate) reason: String,
    /// Change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// How long what is retired stays in the store, for restores that began before: 0, 12h, 2d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) grace: std::time::Duration,
    /// How old leftovers of runs that did not finish must be
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    pub(crate) orphan_age: std::time::Duration,
    /// Change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
