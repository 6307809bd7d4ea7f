//! What every adapter to AWS stands on: a runtime, since the SDK is async and nothing else is, and one way of finding
//! credentials, region and endpoint.
//!
//! Retries of the SDK are off: adapters say which errors pass, and one place outside decides for how long to try.

mod failure;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::{Builder, Handle, Runtime};

pub use failure::{Answer, Failure, FailureKind};

/// The adapters mostly wait; what they compute (TLS, checksums) is little beside what the pipeline does.
const RUNTIME_THREADS: usize = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STALLED_TIMEOUT: Duration = Duration::from_secs(60);
const MACHINE_TIMEOUT: Duration = Duration::from_secs(1);

/// What services other than AWS's own, which have no regions, are told.
const REGION_WITHOUT_MEANING: &str = "us-east-1";

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static RUNTIME_START: Mutex<()> = Mutex::new(());

/// Runs a future to its end on the runtime that all adapters of this process share, which the first call starts.
///
/// # Errors
/// When the runtime cannot be started, or the caller is itself a task of one, which would wait for itself.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    if Handle::try_current().is_ok() {
        return Err(io::Error::other("a blocking call was made from within an async task"));
    }
    Ok(runtime()?.block_on(future))
}

fn runtime() -> io::Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _starting = RUNTIME_START.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("strongroom-io")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// What to ask of AWS's configuration; what is `None` comes from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`,
/// `AWS_ENDPOINT_URL_<SERVICE>`, ...), the profile, or the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsOptions {
    /// Region to talk to.
    pub region: Option<String>,
    /// URL of the service.
    pub endpoint: Option<String>,
    /// PEM file of the authorities to trust, in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Which profile of the configuration files.
    pub profile: Option<String>,
}

/// Why an AWS client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// No threads or no event queue.
    #[error("cannot start the threads that talk to AWS")]
    Runtime(#[source] io::Error),
    /// The file of authorities cannot be read.
    #[error("cannot read the CA bundle {}", path.display())]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file of authorities holds something else.
    #[error("the CA bundle {} holds no certificates in PEM form, or a broken one", path.display())]
    NotCertificates {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] HttpClientError),
    /// The endpoint is no URL.
    #[error("the endpoint {endpoint:?} is no URL with http:// or https:// and a host")]
    InvalidEndpoint {
        /// As given.
        endpoint: String,
    },
}

/// Finds region and endpoint, and how credentials will be found: environment, profile, web identity, container role,
/// instance role. Credentials are looked for when the first request needs them, kept, and renewed before they expire.
///
/// # Errors
/// Only what is wrong with the options, or with this machine: a missing profile or credential shows with the first
/// request.
pub fn load_config(options: &AwsOptions) -> Result<SdkConfig, AwsError> {
    if let Some(endpoint) = &options.endpoint {
        check_endpoint(endpoint)?;
    }
    let http = http_client(options.ca_bundle.as_deref())?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .region(regions(options, http))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(STALLED_TIMEOUT).build(),
        );
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    block_on(loader.load()).map_err(AwsError::Runtime)
}

/// The endpoint that a service's client will use, if it is not AWS's own; `service_id` as in `S3` or `KMS`.
#[must_use]
pub fn endpoint(config: &SdkConfig, service_id: &str) -> Option<String> {
    let from_options = config.get_origin("endpoint_url").is_client_config();
    let key = ServiceConfigKey::builder()
        .service_id(service_id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()
        .filter(|_| !from_options);
    key.and_then(|key| config.service_config()?.load_config(key))
        .or_else(|| config.endpoint_url().map(str::to_owned))
}

fn check_endpoint(endpoint: &str) -> Result<(), AwsError> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or(rest)).unwrap_or_default();
    let is_host = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '@');
    if is_host(host) && !endpoint.contains(['?', '#']) {
        return Ok(());
    }
    // What stands before an @ may be a secret.
    let endpoint = endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host).to_owned();
    Err(AwsError::InvalidEndpoint { endpoint })
}

/// In the order of all AWS tools, but that a machine's own region is not waited for when there is an endpoint: to ask
/// for it takes seconds wherever it cannot be had.
fn regions(options: &AwsOptions, http: SharedHttpClient) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build());
    if options.endpoint.is_some() {
        return chain.or_else(Region::from_static(REGION_WITHOUT_MEANING));
    }
    let provider = ProviderConfig::without_region().with_http_client(http);
    let machine =
        imds::Client::builder().configure(&provider).max_attempts(1).connect_timeout(MACHINE_TIMEOUT).build();
    chain.or_else(ImdsRegionProvider::builder().imds_client(machine).build())
}

/// Speaks TLS with rustls, and goes through the proxy that the environment names.
fn http_client(ca_bundle: Option<&Path>) -> Result<SharedHttpClient, AwsError> {
    let mut trusted = TrustStore::default();
    if let Some(path) = ca_bundle {
        trusted = TrustStore::empty().with_pem_certificate(certificates(path)?);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build().map_err(AwsError::Tls)?;
    let proxy = ProxyConfig::from_env();
    Ok(aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        let provider = Provider::Rustls(CryptoMode::Ring);
        connector.tls_provider(provider).tls_context(context.clone()).build()
    }))
}

/// A PEM file, each certificate of which has been looked at: the HTTP client would panic at a broken one.
fn certificates(path: &Path) -> Result<Vec<u8>, AwsError> {
    let pem = std::fs::read(path).map_err(|source| AwsError::CaBundle { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let is_good = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
        if !is_good {
            return Err(AwsError::NotCertificates { path: path.to_owned() });
        }
    }
    if roots.is_empty() { Err(AwsError::NotCertificates { path: path.to_owned() }) } else { Ok(pem) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_and_secrets_not_repeated() {
        for endpoint in ["http://127.0.0.1:9000", "https://s3.example/", "https://[::1]:1/path"] {
            check_endpoint(endpoint).unwrap();
        }
        for endpoint in
            ["", "localhost:9000", "ftp://x", "http://", "https:///x", "http://a b", "http://h?x=1"]
        {
            check_endpoint(endpoint).unwrap_err();
        }
        let said = check_endpoint("https://key:hunter2@host").unwrap_err().to_string();
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_broken_bundle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(matches!(certificates(&path), Err(AwsError::CaBundle { .. })));
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", not_der, &not_der[..30]] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(certificates(&path), Err(AwsError::NotCertificates { .. })), "{text:?}");
        }
    }

    #[test]
    fn options_decide() {
        let options = AwsOptions {
            region: Some("eu-north-1".into()),
            endpoint: Some("http://127.0.0.1:1".into()),
            ..AwsOptions::default()
        };
        let config = load_config(&options).unwrap();
        assert_eq!(config.region().unwrap().as_ref(), "eu-north-1");
        assert_eq!(endpoint(&config, "S3").as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(config.retry_config().unwrap().max_attempts(), 1);
    }

    #[test]
    fn a_task_cannot_block_itself() {
        assert_eq!(block_on(async { 1 }).unwrap(), 1);
        block_on(async { block_on(async {}).unwrap_err() }).unwrap();
    }
}
