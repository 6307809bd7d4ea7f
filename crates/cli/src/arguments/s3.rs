//! Of `backup s3`, and of whatever else has to do with a bucket that is not the repository's.

use std::path::PathBuf;

use clap::Args;
use strongroom_engines::s3::REQUESTS;

use super::backup::BackupCommon;
use super::group::GroupArguments;
use super::parsers::path_parser;

/// How to reach the bucket that is backed up, or restored into. What is not said comes from the environment, as AWS's own
/// tools know it (`AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`, ...). Where its key is not that of the repository's store:
/// `STRONGROOM_S3_ACCESS_KEY_ID` and `STRONGROOM_S3_SECRET_ACCESS_KEY`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct S3Connection {
    /// Bucket: endpoint of the service, if not AWS
    #[arg(long, env = "STRONGROOM_S3_ENDPOINT", value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// Bucket: region
    #[arg(long, env = "STRONGROOM_S3_REGION", value_name = "REGION")]
    pub(crate) s3_region: Option<String>,
    /// Bucket: profile of the AWS configuration files
    #[arg(long, env = "STRONGROOM_S3_PROFILE", value_name = "NAME")]
    pub(crate) s3_profile: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupS3 {
    /// The bucket: `BUCKET`, `BUCKET/PREFIX` or `s3://BUCKET/PREFIX`
    #[arg(value_name = "BUCKET")]
    pub(crate) bucket: String,
    #[command(flatten)]
    pub(crate) connection: S3Connection,
    /// PEM file with the CA certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub(crate) ca_file: Option<PathBuf>,
    /// Exclude older versions and delete markers
    #[arg(long)]
    pub(crate) current_only: bool,
    /// Exclude tags, which take one request per object (except on MinIO)
    #[arg(long)]
    pub(crate) no_tags: bool,
    #[command(flatten)]
    pub(crate) group: GroupArguments,
    /// Number of leading path segments of a key that decide which worker reads it
    #[arg(long, value_name = "N", default_value_t = 1, requires = "shard")]
    pub(crate) shard_depth: usize,
    /// Concurrent requests
    #[arg(long, value_name = "N", default_value_t = REQUESTS)]
    pub(crate) requests: usize,
    /// Read every object, even if it is unchanged since the last snapshot
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) common: BackupCommon,
}
