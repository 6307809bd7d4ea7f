//! Of `backup opensearch`.

use std::path::PathBuf;

use clap::Args;

use super::backup::BackupCommon;
use super::parsers::path_parser;

#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.help("Shards that are read side by side (default: 2)")))]
pub(crate) struct BackupOpensearch {
    /// The cluster: `http[s]://[USER[:PASSWORD]@]HOST[:PORT]`, with the port 9200 where it is left out
    #[arg(
        long,
        short = 'u',
        env = "OPENSEARCH_URL",
        hide_env_values = true,
        default_value = "http://localhost:9200",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// Only indices and data streams that match, with `*` and `?`; may be repeated (default: all that are not hidden and begin
    /// with no dot)
    #[arg(long, short = 'i', value_name = "PATTERN")]
    pub(crate) index: Vec<String>,
    /// Without those that match; may be repeated
    #[arg(long, short = 'e', value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Also indices that are hidden or begin with a dot
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Read by scroll: for roles that may search and not make points in time
    #[arg(long)]
    pub(crate) scroll: bool,
    /// Read also those shards again that nobody wrote to since the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
    /// Certificates to trust in place of the system's, in PEM form
    #[arg(long, env = "OPENSEARCH_CA_FILE", value_name = "FILE", value_parser = path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}
