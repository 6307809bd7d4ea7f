//! Of `verify`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Snapshot: an ID (any unique prefix), `latest`, `latest:SOURCE`, `latest@TIME`
    #[arg(default_value = "latest", value_name = "ID")]
    pub(crate) snapshot: String,
    /// The latest of this source
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot")]
    pub(crate) source: Option<String>,
    /// Only this database of the snapshot (OpenSearch: this index, or a pattern); may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Vec<String>,
    /// Query whose first column must be true, in at least one row; asked beside those of the source in the configuration
    /// (`[[sources.NAME.assertions]]`); may be repeated
    #[arg(long = "assert", value_name = "SQL")]
    pub(crate) assertions: Vec<String>,
    /// Restore into scratch databases or indices on this server, and drop them again (default: a server that is started for
    /// this, and that nobody else can reach; not for OpenSearch)
    #[arg(long, value_name = "URL", env = "STRONGROOM_SCRATCH_URL", hide_env_values = true)]
    pub(crate) scratch_url: Option<String>,
    #[command(flatten)]
    pub(crate) s3: super::S3Connection,
    /// Certificates to trust in place of the system's, in PEM form
    #[arg(long, value_name = "FILE", requires = "scratch_url", value_parser = super::parsers::path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    /// Folder for the files of that server, which need as much room as the databases (default: the system's temporary folder)
    #[arg(long, value_name = "DIR", env = "STRONGROOM_SCRATCH_DIR", conflicts_with = "scratch_url")]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Folder of PostgreSQL's programs (default: those of the snapshot's version, in PATH or where packages put them)
    #[arg(long, env = "STRONGROOM_PG_BIN", value_name = "DIR")]
    pub(crate) pg_bin: Option<PathBuf>,
    /// Folder of Redis' or Valkey's programs (default: those in PATH)
    #[arg(long, env = "STRONGROOM_REDIS_BIN", value_name = "DIR")]
    pub(crate) redis_bin: Option<PathBuf>,
    /// ClickHouse: the server's program, or its folder (default: clickhouse-server or clickhouse, in PATH or where packages put
    /// it)
    #[arg(long, env = "STRONGROOM_CLICKHOUSE_BIN", value_name = "PATH", value_parser = super::parsers::path_parser())]
    pub(crate) clickhouse_bin: Option<PathBuf>,
    /// Be worker I of N: read only its share of the files, streams or objects, of snapshots that are tested by reading them
    /// (`auto/N` in a Kubernetes Indexed Job)
    #[arg(long, value_name = "I/N", value_parser = super::group::parse_shard)]
    pub(crate) shard: Option<strongroom_repository::share::Share>,
    /// Threads that fetch and decrypt (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}
