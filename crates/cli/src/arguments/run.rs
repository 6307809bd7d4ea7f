//! Of `run`.

use clap::{Args, ValueEnum};
use strongroom_ops::run::Work;

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Sources of the configuration (default: all of them, and then the tasks of the repository)
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Do only this, due or not; may be repeated (default: backups, and everything else if it is due)
    #[arg(long, value_name = "TASK", value_enum)]
    pub(crate) only: Vec<WorkArgument>,
    /// Do only what is due by the configuration's schedules, backups too: for a timer that fires often
    #[arg(long)]
    pub(crate) due: bool,
    /// Only print what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkArgument {
    /// Snapshots of the sources
    Backup,
    /// Restore tests of the sources
    Verify,
    /// Removing snapshots by the retention of each source
    Forget,
    /// Expiring WAL that no base backup needs
    WalExpire,
    /// Copying new snapshots to the second repository
    Sync,
    /// Freeing space that no snapshot needs
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
