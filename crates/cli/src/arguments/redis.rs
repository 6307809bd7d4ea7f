//! Of `backup redis`.

use std::path::PathBuf;

use clap::Args;

use super::BackupCommon;

#[derive(Debug, Args)]
pub(crate) struct BackupRedis {
    /// The server: redis://[USER[:PASSWORD]@]HOST[:PORT], rediss:// with TLS, unix:///SOCKET, or
    /// redis-sentinel://HOST,HOST/MASTER. Of a cluster any node: all masters are read. The password may also be in
    /// REDISCLI_AUTH
    #[arg(
        long,
        short = 'u',
        env = "REDIS_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        hide_default_value = true
    )]
    pub(crate) url: String,
    /// PEM file with the CA certificates to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The append-only files of the server as they are now, on its own host, as its user or as root
    #[arg(long)]
    pub(crate) aof: bool,
    /// With --aof: folder of the server's files, if it is not the one that the server names
    #[arg(long, requires = "aof", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Folder of the sealed temporary file in which keys are sorted; it takes as much room as the data (default: the
    /// system's for temporary files)
    #[arg(long, env = "STRONGROOM_SCRATCH_DIR", value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) group: super::GroupArguments,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}
