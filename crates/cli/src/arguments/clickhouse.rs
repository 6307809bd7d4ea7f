//! Of `backup clickhouse`.

use std::path::PathBuf;

use clap::Args;

use super::BackupCommon;

#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.help("Partitions that are read side by side (default: 2); the server sorts for each")))]
pub(crate) struct BackupClickHouse {
    /// The server's HTTP interface: `http[s]://[USER[:PASSWORD]@]HOST[:PORT]`. User and password may be in CLICKHOUSE_USER and
    /// CLICKHOUSE_PASSWORD
    #[arg(
        long,
        env = "CLICKHOUSE_URL",
        hide_env_values = true,
        default_value = "http://localhost:8123",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// PEM file with the CA certificates to trust instead of the system's
    #[arg(long, env = "CLICKHOUSE_CA_FILE", value_name = "FILE", value_parser = super::parsers::path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    /// Only this database; may be repeated, like all below (default: all but the server's own)
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Vec<String>,
    /// Only this table
    #[arg(long, short = 't', value_name = "DATABASE.TABLE")]
    pub(crate) table: Vec<String>,
    /// Exclude this table
    #[arg(long, short = 'T', value_name = "DATABASE.TABLE")]
    pub(crate) exclude_table: Vec<String>,
    /// Store no checksums of the partitions: the server need not read the rows twice, but `verify` compares only their number
    #[arg(long)]
    pub(crate) no_fingerprints: bool,
    /// Read every partition, even if its parts are the same as in the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) group: super::GroupArguments,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}
