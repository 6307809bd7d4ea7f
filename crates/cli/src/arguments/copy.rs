//! Of commands that copy between repositories.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::parsers::path_parser;

/// Copies snapshots of another repository into this one (--repo).
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("other").required(true).args(["from_repo"])))]
pub(crate) struct Copy {
    /// Snapshots of the other repository (default: all that are not here yet)
    #[arg(value_name = "ID")]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) how: CopyArguments,
}

/// Makes this repository (--repo) hold what another holds (--from-repo), or another what this one holds (--to-repo).
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("other").required(true).args(["from_repo", "to_repo"])))]
pub(crate) struct Sync {
    /// Also forget copies of snapshots that were forgotten at the origin, and expire WAL that was expired there
    #[arg(long)]
    pub(crate) forget: bool,
    #[command(flatten)]
    pub(crate) to: ToArguments,
    #[command(flatten)]
    pub(crate) how: CopyArguments,
}

/// From where, and how.
#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    #[command(flatten)]
    pub(crate) from: FromArguments,
    /// Only snapshots of this source; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// WAL archives to copy as well: all (of --source, or of the system of the base backups chosen), what recovery from the base
    /// backups chosen needs, or none (default: all; `needed` if IDs are given)
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) logs: Option<CopyLogs>,
    /// zstd level; 0 stores data uncompressed
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(0..=19))]
    pub(crate) compression: i32,
    /// Threads (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// Which log archives are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CopyLogs {
    All,
    Needed,
    None,
}

/// The other repository. What is not said here is as for --repo.
#[derive(Debug, Args)]
pub(crate) struct FromArguments {
    /// The repository to copy from
    #[arg(long, env = "STRONGROOM_FROM_REPO", value_name = "REPO")]
    pub(crate) from_repo: Option<String>,
    /// Key file to open it with
    #[arg(long, env = "STRONGROOM_FROM_KEY_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) from_key_file: Option<PathBuf>,
    /// File whose first line is its passphrase
    #[arg(long, env = "STRONGROOM_FROM_PASSPHRASE_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) from_passphrase_file: Option<PathBuf>,
    /// Refuse a repository with another fingerprint
    #[arg(long, env = "STRONGROOM_FROM_FINGERPRINT", value_name = "HEX")]
    pub(crate) from_fingerprint: Option<String>,
    /// Region of its bucket
    #[arg(long, env = "STRONGROOM_FROM_REGION", value_name = "REGION")]
    pub(crate) from_region: Option<String>,
    /// Endpoint of its service
    #[arg(long, env = "STRONGROOM_FROM_ENDPOINT", value_name = "URL")]
    pub(crate) from_endpoint: Option<String>,
}

/// The repository that is copied to, where it is not --repo. What is not said here is as for --repo.
#[derive(Debug, Args)]
pub(crate) struct ToArguments {
    /// The repository to copy this one to
    #[arg(long, env = "STRONGROOM_TO_REPO", value_name = "REPO")]
    pub(crate) to_repo: Option<String>,
    /// Key file to open it with
    #[arg(long, env = "STRONGROOM_TO_KEY_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) to_key_file: Option<PathBuf>,
    /// File whose first line is its passphrase
    #[arg(long, env = "STRONGROOM_TO_PASSPHRASE_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) to_passphrase_file: Option<PathBuf>,
    /// Refuse a repository with another fingerprint
    #[arg(long, env = "STRONGROOM_TO_FINGERPRINT", value_name = "HEX")]
    pub(crate) to_fingerprint: Option<String>,
    /// Region of its bucket
    #[arg(long, env = "STRONGROOM_TO_REGION", value_name = "REGION")]
    pub(crate) to_region: Option<String>,
    /// Endpoint of its service
    #[arg(long, env = "STRONGROOM_TO_ENDPOINT", value_name = "URL")]
    pub(crate) to_endpoint: Option<String>,
}

/// A second repository beside --repo.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Other<'a> {
    pub(crate) repo: &'a str,
    pub(crate) key_file: Option<&'a PathBuf>,
    pub(crate) passphrase_file: Option<&'a PathBuf>,
    pub(crate) fingerprint: Option<&'a String>,
    pub(crate) region: Option<&'a String>,
    pub(crate) endpoint: Option<&'a String>,
}

impl FromArguments {
    /// `None` where it is not named.
    pub(crate) fn other(&self) -> Option<Other<'_>> {
        Some(Other {
            repo: self.from_repo.as_deref()?,
            key_file: self.from_key_file.as_ref(),
            passphrase_file: self.from_passphrase_file.as_ref(),
            fingerprint: self.from_fingerprint.as_ref(),
            region: self.from_region.as_ref(),
            endpoint: self.from_endpoint.as_ref(),
        })
    }
}

impl ToArguments {
    /// `None` where it is not named.
    pub(crate) fn other(&self) -> Option<Other<'_>> {
        Some(Other {
            repo: self.to_repo.as_deref()?,
            key_file: self.to_key_file.as_ref(),
            passphrase_file: self.to_passphrase_file.as_ref(),
            fingerprint: self.to_fingerprint.as_ref(),
            region: self.to_region.as_ref(),
            endpoint: self.to_endpoint.as_ref(),
        })
    }
}
