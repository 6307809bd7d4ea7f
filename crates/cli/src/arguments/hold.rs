//! Of `hold`.

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(subcommand)]
    pub(crate) action: HoldAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldAction {
    /// Place a hold on snapshots: they cannot be forgotten until it is removed
    #[command(group = ArgGroup::new("what").required(true))]
    Add {
        /// Snapshots
        #[arg(value_name = "ID", group = "what")]
        snapshots: Vec<String>,
        /// All present snapshots of this source
        #[arg(long, value_name = "NAME", group = "what")]
        source: Option<String>,
        /// Name of the hold; a snapshot may be under several
        #[arg(long, value_name = "NAME", default_value = "legal")]
        name: String,
        /// Reason, for the audit trail
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Remove a hold from snapshots (needs the role admin)
    Remove {
        /// Snapshots
        #[arg(required = true, value_name = "ID")]
        snapshots: Vec<String>,
        /// Name of the hold
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Reason, for the audit trail
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Show which snapshots are under which holds, since when, by whom, and why
    List,
}
