//! A bucket that is talked to: requests that pass are made again, and errors say which bucket.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::SdkError;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use strongroom_repository::monitor::Monitor;
use strongroom_store::RetryPolicy;
use strongroom_store::aws::{AwsError, AwsOptions, Failure, FailureKind, block_on, endpoint, load_config};
use strongroom_store::s3::is_passing;

use super::error::S3Error;

/// The longest silence.
const SILENCE: Duration = Duration::from_secs(60);
/// No answer to a write comes before its last byte; one that is slower than this has stalled.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
/// Where AWS's own service sends whoever names no region.
const DEFAULT_REGION: &str = "us-east-1";
/// A wait is looked at this often, for whether the run was cancelled.
const TICK: Duration = Duration::from_millis(100);

/// Which bucket, and as whom.
#[derive(Clone, Default)]
pub struct BucketTarget {
    /// Its name.
    pub bucket: String,
    /// What all keys begin with: empty, or with a `/` at its end.
    pub prefix: String,
    /// URL of a service that is not AWS's; else that of the environment.
    pub endpoint: Option<String>,
    /// Region; else that of the environment, the profile, or the machine.
    pub region: Option<String>,
    /// Of AWS's configuration files.
    pub profile: Option<String>,
    /// Certificates that are believed in place of the system's, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Access key and its secret; else those of the environment, the profile, or the machine.
    pub login: Option<(String, String)>,
    /// For how long a request that fails in passing is made again.
    pub retry_for: Option<Duration>,
}

impl fmt::Debug for BucketTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketTarget")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BucketTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl BucketTarget {
    /// Understands `[s3://]BUCKET[/PREFIX]`. The prefix is a folder: keys begin with it and a `/`.
    ///
    /// # Errors
    /// `NotABucket`.
    pub fn parse(text: &str) -> Result<Self, S3Error> {
        let wrong = |why| S3Error::NotABucket { given: text.to_owned(), why };
        let rest = match text.split_once("://") {
            Some(("s3", rest)) => rest,
            Some(_) => return Err(wrong("write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX")),
            None => text,
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(is_letter) {
            return Err(wrong("a bucket's name has letters, digits, `-` and `.`"));
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix, ..Self::default() })
    }

    /// The URL of the service, where it is not AWS's own.
    ///
    /// # Errors
    /// `Aws`.
    pub fn service(&self) -> Result<Option<String>, S3Error> {
        let config = load_config(&self.aws_options());
        Ok(endpoint(&config.map_err(|source| S3Error::Aws { bucket: self.to_string(), source })?, "S3"))
    }

    fn aws_options(&self) -> AwsOptions {
        AwsOptions {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            ca_bundle: self.ca_file.clone(),
            profile: self.profile.clone(),
        }
    }
}

/// See the [module](self). Used from many threads.
pub(super) struct Session<'m> {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) prefix: String,
    /// Bucket and endpoint, for people.
    pub(super) name: String,
    pub(super) endpoint: Option<String>,
    pub(super) monitor: &'m dyn Monitor,
    /// Why tags cannot be read, once that was found out.
    pub(super) tags_denied: OnceLock<String>,
    retry: RetryPolicy,
    /// Until then a service that cannot be reached is most often one whose URL is wrong.
    has_answered: AtomicBool,
}

impl<'m> Session<'m> {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) fn open(target: &BucketTarget, monitor: &'m dyn Monitor) -> Result<Self, S3Error> {
        let fail = |source| S3Error::Aws { bucket: target.to_string(), source };
        let mut config = load_config(&target.aws_options()).map_err(fail)?;
        if let Some((key, secret)) = &target.login {
            let credentials = Credentials::new(key, secret, None, None, "strongroom");
            let provider = SharedCredentialsProvider::new(credentials);
            config = config.into_builder().credentials_provider(provider).build();
        }
        let endpoint = endpoint(&config, "S3");
        let region = config.region().cloned().unwrap_or(Region::from_static(DEFAULT_REGION));
        let builder = Builder::from(&config)
            .force_path_style(endpoint.is_some())
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .region(region);
        let mut retry = RetryPolicy::default();
        if let Some(deadline) = target.retry_for {
            retry.deadline = deadline;
        }
        let name = match &endpoint {
            Some(endpoint) => format!("s3://{} ({endpoint})", target.bucket),
            None => format!("s3://{}", target.bucket),
        };
        Ok(Self {
            client: Client::from_conf(builder.build()),
            bucket: target.bucket.clone(),
            prefix: target.prefix.clone(),
            name,
            endpoint,
            monitor,
            tags_denied: OnceLock::new(),
            retry,
            has_answered: AtomicBool::new(false),
        })
    }

    /// The whole key of one that is relative to the prefix.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Makes a request, again for as long as it fails for reasons that pass.
    ///
    /// # Errors
    /// `Request`.
    pub(super) fn call<T, F>(
        &self,
        operation: &'static str,
        object: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.call_with(operation, object, 0, attempt)
    }

    /// As [`Session::call`], for requests that carry so many bytes.
    ///
    /// # Errors
    /// `Request`.
    pub(super) fn call_with<T, F>(
        &self,
        operation: &'static str,
        object: &str,
        bytes: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let limit = SILENCE + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let began = Instant::now();
        let mut delay = self.retry.first_delay;
        loop {
            let answer = block_on(async { tokio::time::timeout(limit, attempt()).await });
            let failure = match answer {
                Ok(Ok(Ok(answer))) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Ok(Err(failure))) => failure,
                Ok(Err(_)) => silent(limit),
                Err(error) => Failure { kind: FailureKind::Other, source: AwsError::Runtime(error).into() },
            };
            let left = self.deadline(&failure).saturating_sub(began.elapsed());
            if !passes(&failure) || left < delay || self.monitor.is_cancelled() {
                return Err(S3Error::request(operation, object, &self.name, failure));
            }
            tracing::warn!(operation, object, error = %failure.source, "trying again");
            self.wait(jittered(delay));
            delay = (delay * 2).min(self.retry.longest_delay);
        }
    }

    /// How long to go on after that failure.
    fn deadline(&self, failure: &Failure) -> Duration {
        let RetryPolicy { deadline, first_contact, .. } = self.retry;
        if matches!(failure.kind, FailureKind::NotConnected) && !self.has_answered.load(Ordering::Relaxed) {
            first_contact.min(deadline)
        } else {
            self.has_answered.store(true, Ordering::Relaxed);
            deadline
        }
    }

    /// Waits, unless the run is cancelled.
    fn wait(&self, delay: Duration) {
        let end = Instant::now() + delay;
        while !self.monitor.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

/// What an error of the SDK means.
pub(super) fn failed<E>(error: SdkError<E, Response>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    Failure::new(error)
}

/// A body that is not what was announced, or the like: another attempt may be better.
pub(super) fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure { kind: FailureKind::Interrupted, source: why.into() }
}

/// Nothing came for too long.
pub(super) fn silent(limit: Duration) -> Failure {
    broken(format!("nothing came for {} seconds", limit.as_secs()))
}

/// Reads a body of that length to its end; silence is measured between its parts.
///
/// # Errors
/// When it is shorter, longer, or breaks off.
pub(super) async fn body(
    mut body: aws_sdk_s3::primitives::ByteStream,
    length: Option<i64>,
) -> Result<Vec<u8>, Failure> {
    let length = length.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| broken("the answer has no length"))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(broken)?;
    loop {
        let part = tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| silent(SILENCE))?;
        match part {
            Some(part) => {
                let part = part.map_err(broken)?;
                if part.len() > length - bytes.len() {
                    return Err(broken("the body is longer than the answer said"));
                }
                bytes.extend_from_slice(&part);
            }
            None if bytes.len() < length => return Err(broken("the body is shorter than the answer said")),
            None => return Ok(bytes),
        }
    }
}

fn passes(failure: &Failure) -> bool {
    match &failure.kind {
        FailureKind::NotConnected | FailureKind::Interrupted => true,
        FailureKind::Answered(answer) => is_passing(answer),
        _ => false,
    }
}

/// Half of it and a random part of the rest, so that many that were refused together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    delay / 2 + (delay / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_understood() {
        for (text, bucket, prefix) in [
            ("abc", "abc", ""),
            ("abc/", "abc", ""),
            ("s3://abc/a/b/", "abc", "a/b/"),
            ("abc/ü x", "abc", "ü x/"),
        ] {
            let target = BucketTarget::parse(text).unwrap();
            assert_eq!((target.bucket.as_str(), target.prefix.as_str()), (bucket, prefix), "{text}");
        }
        for wrong in ["", "/a", "s3:///a", "gs://abc", "a b", "a@b"] {
            assert!(matches!(BucketTarget::parse(wrong), Err(S3Error::NotABucket { .. })), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Some(("key".to_owned(), "hunter2".to_owned()));
        let target = BucketTarget { login, ..BucketTarget::parse("abc").unwrap() };
        assert!(!format!("{target:?} {target}").contains("hunter2"));
    }
}
