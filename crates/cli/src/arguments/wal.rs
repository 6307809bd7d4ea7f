//! Of `wal-push`, `wal-get` and `wal`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use strongroom_format::wal_file::LogFile;
use strongroom_ops::config::parse_duration;

use super::parsers::{parse_bytes, path_parser};

/// The source of a server's log, as of its snapshots.
pub(super) const DEFAULT_SOURCE: &str = "postgres";

#[derive(Debug, Args)]
#[command(
    after_help = "In postgresql.conf: archive_command = 'strongroom wal-push %p'. It ends with 0 only when the file is \
durable in the repository, or was there with the same bytes; another file of that name is never replaced. With --queue-max it \
also ends with 0 for what it drops, says so on standard error, and has it in the repository's journal (`journal export`: \
wal_dropped) as soon as it can: recovery ends there, until there is a new base backup."
)]
pub(crate) struct WalPush {
    /// The file: a segment, `.partial`, `.history` or `.backup` (%p)
    #[arg(value_name = "PATH", value_parser = path_parser())]
    pub(crate) path: PathBuf,
    /// Hand the file to a background agent, which keeps the repository open and uploads ahead; it is started when there is none,
    /// and ends after this long without work
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10m", env = "STRONGROOM_WAL_AGENT", value_parser = parse_idle)]
    pub(crate) agent: Option<Duration>,
    /// Protect the server's disk: if more WAL than this is waiting (10G) and cannot be uploaded within seconds, or 25% more is
    /// waiting, drop all of it and report it to the server as archived. DATA LOSS: recovery stops there until a new base backup
    #[arg(long, value_name = "SIZE", env = "STRONGROOM_WAL_QUEUE_MAX", value_parser = parse_bytes)]
    pub(crate) queue_max: Option<u64>,
    #[command(flatten)]
    pub(crate) archive: WalArchive,
}

/// The agent of `wal-push --agent`, which starts it.
#[derive(Debug, Args)]
pub(crate) struct WalAgent {
    /// Where it listens
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) socket: PathBuf,
    /// What it was told, as whoever asks it says it too
    #[arg(long, value_name = "TEXT")]
    pub(crate) configuration: String,
    /// It ends when nobody has asked for so long
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle_seconds: u64,
}

/// `10m`, `1h`: an agent that ended at once would be started for each file.
fn parse_idle(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|last: char| last.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write it as 30s, 10m or 1h".into()),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("write 1s to 24h".into()),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "In postgresql.conf: restore_command = 'strongroom wal-get %f %p'.\n\
Exit codes: 0 done; 1 the archive does not have the file, which ends a recovery; everything else must not be taken for \
that, and is the usual code and 200, on which the server stops: 201 failed (the store cannot be reached, ...), 202 usage, \
204 damage, 205 wrong key or no access; 130 and 143 interrupted.")]
pub(crate) struct WalGet {
    /// Name of the file (%f)
    #[arg(value_name = "FILE")]
    pub(crate) file: LogFile,
    /// Where to write it (%p), whole or not at all
    #[arg(value_name = "DESTINATION", value_parser = path_parser())]
    pub(crate) destination: PathBuf,
    #[command(flatten)]
    pub(crate) archive: WalArchive,
}

#[derive(Debug, Args)]
pub(crate) struct WalArchive {
    /// Whose log it is: the source of the server's snapshots
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SOURCE)]
    pub(crate) source: String,
    /// The database system identifier (default: the one in the file, or in global/pg_control of the data directory)
    #[arg(long, value_name = "N")]
    pub(crate) system_identifier: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Wal {
    #[command(subcommand)]
    pub(crate) action: WalAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalAction {
    /// List WAL archives: what there is of each timeline, how old the newest file is, and what is missing
    List(WalList),
    /// Receive the WAL of a server as it is written, from a replication slot, until stopped
    Receive(WalReceive),
    /// Expire WAL that no base backup needs; `strongroom prune` deletes it after the grace period
    Expire(WalExpire),
}

#[derive(Debug, Args)]
#[command(
    after_help = "With --max-lag it ends with 3 unless every source has archived something within that time, nothing is missing in the \
archive that it writes to now, and nothing was dropped that the journal does not know of yet. A server that writes nothing archives \
nothing: set its archive_timeout to less."
)]
pub(crate) struct WalList {
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Exit with 3 if the newest file is older than this, or any is missing: 90s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_lag: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Runs pg_receivewal of the server's version. Each segment is flushed in the spool before the server hears of it, and \
stays there until it is in the repository; stopped or killed, it goes on from there. The server keeps what the slot has not \
received: set its max_slot_wal_keep_size. A server or store that is away is waited for; what waiting does not mend ends it with 1."
)]
pub(crate) struct WalReceive {
    /// The server, as libpq takes it: a URL, or `key=value` pairs (default: the PG* variables, the service file, .pgpass)
    #[arg(long, short = 'd', env = "DATABASE_URL", hide_env_values = true, value_name = "CONNINFO")]
    pub(crate) dbname: Option<String>,
    /// The physical replication slot
    #[arg(long, value_name = "NAME", value_parser = parse_slot)]
    pub(crate) slot: String,
    /// Create the slot if it does not exist: from then on the server keeps its WAL for it
    #[arg(long)]
    pub(crate) create_slot: bool,
    /// Whose log it is: the source of the server's snapshots
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SOURCE)]
    pub(crate) source: String,
    /// Folder to receive into, of this user only (default: wal-receive/SLOT below --state-dir)
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    pub(crate) spool: Option<PathBuf>,
    /// Folder of pg_receivewal and psql (default: those of the server's version, in PATH or where packages put them)
    #[arg(long, env = "STRONGROOM_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
}

/// As servers have it.
fn parse_slot(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=63).contains(&text.len()) && text.bytes().all(is_good) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 63 lower case letters, digits and underscores".into())
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "A base backup is a snapshot of `backup postgres --physical`. All of those that are kept restore as of their own end without the log archive; to be as of any moment since then, the log from there on is needed. Archives of a system without any base backup are left alone."
)]
pub(crate) struct WalExpire {
    /// Recovery to any moment stays possible for this long before the newest base backup: 12h, 30d, 8w
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) keep_within: Duration,
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only print what would be expired
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}
