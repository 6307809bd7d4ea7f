//! Of `backup opensearch`.

use std::path::PathBuf;

use clap::Args;

use super::backup::BackupCommon;
use super::parsers::path_parser;

#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.help("Shards that are read side by side (default: 2)")))]
pub(crate) struct BackupOpensearch {
    /// The cluster: `http[s]://[USER[:PASSWORD]@]HOST[:PORT]` (default port: 9200)
    #[arg(
        long,
        short = 'u',
        env = "OPENSEARCH_URL",
        hide_env_values = true,
        default_value = "http://localhost:9200",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// Only indices and data streams that match, with `*` and `?`; may be repeated (default: all that are neither hidden nor
    /// begin with a dot)
    #[arg(long, short = 'i', value_name = "PATTERN")]
    pub(crate) index: Vec<String>,
    /// Exclude indices and data streams that match; may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Include indices that are hidden or begin with a dot
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Read by scroll, for roles that may not create points in time
    #[arg(long)]
    pub(crate) scroll: bool,
    /// Read every shard, even if nothing was written to it since the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
    /// PEM file with the CA certificates to trust instead of the system's
    #[arg(long, env = "OPENSEARCH_CA_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}
