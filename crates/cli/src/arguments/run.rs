//! Of `run`.

use clap::{Args, ValueEnum};
use strongroom_ops::run::Work;

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Sources of the configuration (default: all that it backs up, and then the repository's own tasks)
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Do only this, whether it is due or not; may be repeated (default: backups, and all else when it is due)
    #[arg(long, value_name = "TASK", value_enum)]
    pub(crate) only: Vec<WorkArgument>,
    /// Do only what is due by the configuration's schedules, backups too: for a timer that runs often
    #[arg(long)]
    pub(crate) due: bool,
    /// Say what would be done, and change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkArgument {
    /// Snapshots of the sources
    Backup,
    /// Restore tests of the sources
    Verify,
    /// Taking snapshots out, by the retention of each source
    Forget,
    /// Giving up what of log archives no base backup needs
    WalExpire,
    /// Copying what is new to the second repository
    Sync,
    /// Freeing what no snapshot needs
    Prune,
    /// Checking the repository
    Check,
}

impl From<WorkArgument> for Work {
    fn from(argument: WorkArgument) -> Self {
        match argument {
            WorkArgument::Backup => Self::Backup,
            WorkArgument::Verify => Self::Verify,
            WorkArgument::Forget => Self::Forget,
            WorkArgument::WalExpire => Self::WalExpire,
            WorkArgument::Sync => Self::Sync,
            WorkArgument::Prune => Self::Prune,
            WorkArgument::Check => Self::Check,
        }
    }
}
