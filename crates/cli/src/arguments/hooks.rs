//! Commands around an operation.

use std::time::Duration;

use clap::Args;
use strongroom_ops::config::parse_duration;

/// Of a backup or a restore.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hooks")]
pub(crate) struct HookArguments {
    /// Shell command to run first, to pause a service or check its health. If it fails, nothing else is done
    #[arg(long, value_name = "CMD")]
    pub(crate) pre: Option<String>,
    /// Shell command to run at the end, whatever happened, to resume. STRONGROOM_RESULT is `done` or `failed`
    #[arg(long, value_name = "CMD")]
    pub(crate) post: Option<String>,
    /// Shell command to run after a failure, before --post; STRONGROOM_ERROR says what failed
    #[arg(long, value_name = "CMD")]
    pub(crate) on_failure: Option<String>,
    /// Time limit for each hook
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(crate) hook_timeout: Duration,
}
