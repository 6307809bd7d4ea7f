//! Of `hold`.

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(subcommand)]
    pub(crate) action: HoldAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldAction {
    /// Put snapshots under a hold: nothing forgets them until it is taken off
    #[command(group = ArgGroup::new("what").required(true))]
    Add {
        /// Snapshots
        #[arg(value_name = "ID", group = "what")]
        snapshots: Vec<String>,
        /// All snapshots of this source that there are now
        #[arg(long, value_name = "NAME", group = "what")]
        source: Option<String>,
        /// Name of the hold; a snapshot may be under several
        #[arg(long, value_name = "NAME", default_value = "legal")]
        name: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Take a hold off snapshots, as an admin
    Remove {
        /// Snapshots
        #[arg(required = true, value_name = "ID")]
        snapshots: Vec<String>,
        /// Name of the hold
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Show which snapshots are under which holds, since when, by whom, and why
    List,
}
