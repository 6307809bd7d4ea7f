//! A store in a bucket of Amazon S3, or of a service that speaks its language.
//!
//! An object is one PUT with `If-None-Match: *`: never in parts, never with a look before. The SDK sends a CRC32 of
//! the body, which the service compares and keeps; a GET of a whole object compares it again. Ranges have none: what
//! reads ranges verifies what it reads.
//!
//! The service must be S3 in this: conditional PUT (412 when the name is taken, also for the loser of a race),
//! consistent reads, lists in the order of the keys' bytes. One that answers a condition with 501 is refused
//! ([`StoreError::NoAtomicCreate`]).
//!
//! HEAD answers hold no reason, so that a missing bucket and a missing object look alike to [`Store::stat`]. And
//! whoever may not list the bucket is told 403, not 404, of an object that is not there: every role needs
//! `s3:ListBucket`.
//!
//! In a bucket with versions a delete leaves a marker, and the bytes go when a lifecycle rule of the bucket, and
//! Object Lock, let them.

mod answer;
mod archive;
mod history;
mod list;
mod read;
mod retention;

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass};
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

pub use answer::is_passing;

use crate::aws::{AwsError, AwsOptions, Failure, FailureKind, block_on, endpoint, load_config};
use crate::billing::s3_billed_days;
use crate::capability::{Archive, History, ObjectLock, Retention};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::options::StoreOptions;
use crate::store::{ObjectInfo, PutOutcome, Store};
use crate::url::StoreUrl;

/// The longest silence.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// No answer to a PUT comes before its last byte; one that is slower than this has stalled.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;

/// Where AWS's own service sends whoever names no region; it answers with the right one.
const DEFAULT_REGION: &str = "us-east-1";

const STORAGE_CLASS_OPTION: &str = "storage class";

/// A store in a bucket. See the [module](self) for what it asks of the service.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    /// What every key begins with: nothing, or text with a `/` at its end.
    root: String,
    location: String,
    class_of_packs: Option<StorageClass>,
    sse_kms_key: Option<String>,
    /// TLS protects the body, so that hashing it for the signature, too, would be for nothing.
    is_tls: bool,
    region: String,
    answer_timeout: Duration,
    lock: RwLock<Option<ObjectLock>>,
}

impl S3Store {
    /// Opens what begins with `prefix` (without `/` at its ends) in `bucket`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Aws`], [`StoreError::InvalidOption`].
    pub fn open(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let config = load_config(&AwsOptions {
            region: options.region.clone(),
            endpoint: options.endpoint.clone(),
            ca_bundle: options.ca_bundle.clone(),
            profile: None,
        })
        .map_err(|source| StoreError::Aws { location: url(bucket, prefix), source })?;
        Self::with_config(&config, bucket, prefix, options)
    }

    /// As [`S3Store::open`], for whoever has region, endpoint and credentials already.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`]
    pub fn with_config(
        config: &SdkConfig,
        bucket: &str,
        prefix: &str,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let url = url(bucket, prefix);
        let class_of_packs = storage_class(options, &url)?;
        let endpoint = endpoint(config, "S3");
        let mut builder = Builder::from(config)
            .force_path_style(options.path_style.unwrap_or(endpoint.is_some()))
            // Whatever the environment says. Answers are compared where that is asked for: of a range, services may send
            // the checksum of the whole.
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let region = config.region().cloned().unwrap_or(Region::from_static(DEFAULT_REGION));
        builder = builder.region(region.clone());
        let location = match &endpoint {
            Some(endpoint) => format!("{url} ({endpoint})"),
            None => url,
        };
        Ok(Self {
            client: Client::from_conf(builder.build()),
            bucket: bucket.to_owned(),
            root: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            location,
            class_of_packs,
            sse_kms_key: options.sse_kms_key.clone(),
            is_tls: endpoint.is_none_or(|endpoint| endpoint.starts_with("https:")),
            region: region.to_string(),
            answer_timeout: ANSWER_TIMEOUT,
            lock: RwLock::new(None),
        })
    }

    fn key(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.root)
    }

    /// Runs a request.
    fn call<T, E>(&self, request: impl Future<Output = Result<T, SdkError<E, Response>>>) -> Result<T, Failed>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        self.call_within(self.answer_timeout, request)
    }

    fn call_within<T, E>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, SdkError<E, Response>>>,
    ) -> Result<T, Failed>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match block_on(async { tokio::time::timeout(limit, request).await }) {
            Ok(Ok(answer)) => answer.map_err(Failed::new),
            Ok(Err(_)) => Err(Failed::silent(limit)),
            Err(error) => Err(Failed::from(AwsError::Runtime(error))),
        }
    }

    fn head(&self, operation: Operation, name: &ObjectName) -> Result<HeadObjectOutput, StoreError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(name));
        self.call(request.send()).map_err(|failed| self.error_on(operation, name, failed))
    }

    fn info(&self, name: &ObjectName, head: &HeadObjectOutput) -> Result<ObjectInfo, StoreError> {
        let class = head.storage_class().map(StorageClass::as_str);
        object_info(head.content_length(), head.last_modified(), class)
            .ok_or_else(|| self.senseless(Operation::Stat, name.as_str()))
    }

    /// An answer that no S3 gives.
    fn senseless(&self, operation: Operation, object: &str) -> StoreError {
        StoreError::Io {
            operation,
            object: object.to_owned(),
            location: self.location.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, "the service's answer makes no sense"),
        }
    }

    fn class_of(&self, name: &ObjectName) -> Option<StorageClass> {
        self.class_of_packs.clone().filter(|_| name.as_str().starts_with("packs/"))
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.sse_kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    fn lock(&self) -> Option<ObjectLock> {
        *self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for S3Store {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let (mode, until) = self.retention_of(name);
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_storage_class(self.class_of(name))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.sse_kms_key.clone())
            .set_object_lock_mode(mode)
            .set_object_lock_retain_until_date(until)
            // The request outlives this call's borrow, if only in the type system: the one copy of the bytes.
            .body(ByteStream::from(bytes.to_vec()));
        let seconds = bytes.len() as u64 / SLOWEST_BYTES_PER_SECOND;
        let limit = self.answer_timeout.saturating_add(Duration::from_secs(seconds));
        let answer = if self.is_tls {
            self.call_within(limit, request.customize().disable_payload_signing().send())
        } else {
            self.call_within(limit, request.send())
        };
        match answer {
            Ok(_) => Ok(PutOutcome::Created),
            Err(failed) if failed.status() == Some(412) => Ok(PutOutcome::AlreadyExists),
            Err(failed) => Err(self.error_on(Operation::Put, name, failed.without_object())),
        }
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.read_whole(name, None, max_length_bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        self.read_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.info(name, &self.head(Operation::Stat, name)?)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_pages(prefix, None, visit)
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_pages(prefix, Some(after), visit)
    }

    /// Two requests: S3 deletes what is not there without a word.
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.head(Operation::Delete, name)?;
        let request = self.client.delete_object().bucket(&self.bucket).key(self.key(name));
        self.call(request.send()).map(|_| ()).map_err(|failed| self.error_on(Operation::Delete, name, failed))
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        Some(self)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        Some(self)
    }
}

/// A request without the answer it asked for.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    /// Where the bucket is, when the service says so.
    region: Option<String>,
}

impl Failed {
    fn new<E>(error: SdkError<E, Response>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let header = |response: &Response| response.headers().get("x-amz-bucket-region").map(str::to_owned);
        let region = error.raw_response().and_then(header);
        Self { failure: Failure::new(error), region }
    }

    fn interrupted(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let failure = Failure { kind: FailureKind::Interrupted, source: source.into() };
        Self { failure, region: None }
    }

    fn silent(limit: Duration) -> Self {
        Self::interrupted(format!("nothing came for {} seconds", limit.as_secs()))
    }

    fn status(&self) -> Option<u16> {
        match &self.failure.kind {
            FailureKind::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// For requests that need no object: what is not found is the bucket.
    fn without_object(mut self) -> Self {
        if let FailureKind::Answered(answer) = &mut self.failure.kind
            && answer.status == 404
        {
            answer.code = "NoSuchBucket".to_owned();
        }
        self
    }

    fn code(&self) -> &str {
        match &self.failure.kind {
            FailureKind::Answered(answer) => &answer.code,
            _ => "",
        }
    }
}

impl From<AwsError> for Failed {
    fn from(error: AwsError) -> Self {
        Self { failure: Failure { kind: FailureKind::Other, source: error.into() }, region: None }
    }
}

fn url(bucket: &str, prefix: &str) -> String {
    StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string()
}

fn storage_class(options: &StoreOptions, url: &str) -> Result<Option<StorageClass>, StoreError> {
    let Some(text) = &options.storage_class_packs else { return Ok(None) };
    let class = text.to_ascii_uppercase().replace('-', "_");
    let class = StorageClass::try_parse(&class).map_err(|_| StoreError::InvalidOption {
        option: STORAGE_CLASS_OPTION,
        value: text.clone(),
        location: url.to_owned(),
    })?;
    Ok(Some(class))
}

/// In whole seconds, since a HEAD has no finer ones though a list has.
fn object_info(length: Option<i64>, modified: Option<&DateTime>, class: Option<&str>) -> Option<ObjectInfo> {
    let length_bytes = u64::try_from(length?).ok()?;
    let modified_ms = u64::try_from(modified?.secs()).ok()?.checked_mul(1000)?;
    Some(ObjectInfo { length_bytes, modified_ms, billed_days: class.map_or(0, s3_billed_days) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends() {
        // Connections are made, and nobody ever reads from them.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let options = AwsOptions {
            region: Some(DEFAULT_REGION.to_owned()),
            endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
            ..AwsOptions::default()
        };
        let credentials = aws_credential_types::Credentials::new("a", "b", None, None, "test");
        let credentials = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
        let config = load_config(&options).unwrap().into_builder().credentials_provider(credentials).build();
        let mut store = S3Store::with_config(&config, "some-bucket", "", &StoreOptions::default()).unwrap();
        store.answer_timeout = Duration::from_millis(50);
        let name = ObjectName::new("config").unwrap();
        for error in [store.get(&name, 1).unwrap_err(), store.put_if_absent(&name, b"x").unwrap_err()] {
            assert!(matches!(error, StoreError::Transient { throttled: false, .. }), "{error}");
            assert!(!error.is_without_effect());
        }
    }
}
