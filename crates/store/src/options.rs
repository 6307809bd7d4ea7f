//! How to talk to a store: what its URL does not say.

use std::path::PathBuf;
use std::time::Duration;

/// How to talk to a store. The default asks for nothing special; what a kind of store has no use for, it ignores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Region of the bucket; else that of the environment, the profile, or the machine.
    pub region: Option<String>,
    /// URL of the service, for those that are compatible with S3 and for emulators.
    pub endpoint: Option<String>,
    /// PEM file of the authorities to trust, in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Whether the bucket is named in the path (`true`) or in the host name; else in the path if there is an endpoint.
    pub path_style: Option<bool>,
    /// Storage class of data packs, `packs/`, such as `STANDARD_IA`. Everything else is always in the default class.
    pub storage_class_packs: Option<String>,
    /// KMS key with which the store itself encrypts (SSE-KMS): ID, ARN or alias. Independent of this project's own
    /// encryption.
    pub sse_kms_key: Option<String>,
    /// Most bytes to write a second.
    pub upload_bytes_per_second: Option<u64>,
    /// Most bytes to read a second.
    pub download_bytes_per_second: Option<u64>,
    /// Most requests to begin a second.
    pub requests_per_second: Option<u32>,
    /// Most requests under way at once.
    pub connections: Option<usize>,
    /// For how long a request that fails in passing is tried again.
    pub deadline: Option<Duration>,
}
