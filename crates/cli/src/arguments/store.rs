//! How to talk to the store.

use std::path::PathBuf;

use clap::Args;

use super::parsers::{parse_bytes, parse_count, path_parser};
use strongroom_ops::config::parse_duration;

/// How to talk to a store that is not a folder. What is not said comes from the environment, as the tools of its
/// cloud know it: `AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, `AZURE_STORAGE_ACCOUNT_NAME`, `GOOGLE_APPLICATION_CREDENTIALS`, ...
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArguments {
    /// Store for everything but data packs, parity and WAL archives, when --repo is in cold storage
    #[arg(long, env = "STRONGROOM_HOT_STORE", global = true, value_name = "URL")]
    pub(crate) hot_store: Option<String>,
    /// Region of the bucket
    #[arg(long, env = "STRONGROOM_REGION", global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Endpoint of an S3-compatible service
    #[arg(long, env = "STRONGROOM_ENDPOINT", global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// PEM file with the CA certificates to trust instead of the system's
    #[arg(long, env = "STRONGROOM_CA_CERT", global = true, value_name = "FILE", value_parser = path_parser())]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Name the bucket in the path (default with --endpoint) or in the host name
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) path_style: Option<bool>,
    /// Storage class of data packs: STANDARD_IA, GLACIER_IR, ...
    #[arg(long, env = "STRONGROOM_STORAGE_CLASS", global = true, value_name = "CLASS")]
    pub(crate) storage_class: Option<String>,
    /// KMS key for the bucket's own encryption (SSE-KMS), in addition to Strongroom's
    #[arg(long, env = "STRONGROOM_SSE_KMS_KEY", global = true, value_name = "KEY")]
    pub(crate) sse_kms_key: Option<String>,
    /// Limit on bytes written per second: 500K, 20M
    #[arg(long, global = true, value_name = "RATE", value_parser = parse_bytes)]
    pub(crate) limit_upload: Option<u64>,
    /// Limit on bytes read per second
    #[arg(long, global = true, value_name = "RATE", value_parser = parse_bytes)]
    pub(crate) limit_download: Option<u64>,
    /// Limit on requests per second
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit_requests: Option<u32>,
    /// Limit on concurrent requests
    #[arg(long, global = true, value_name = "N", value_parser = parse_count)]
    pub(crate) connections: Option<usize>,
    /// How long to retry requests that fail temporarily: 30s, 5m
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_for: Option<std::time::Duration>,
}
