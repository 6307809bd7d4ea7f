//! Setting up a client of either service.

use std::fs;
use std::sync::Once;
use std::time::Duration;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, RetryConfig};
use reqwest::Certificate;
use reqwest::redirect::Policy;

use crate::cloud::transport::Transport;
use crate::cloud::{CloudStore, Kind};
use crate::error::{CredentialsReason, Operation, StoreError};
use crate::options::StoreOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The account that every emulator of Azure has, and its key, which its documentation prints.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const GCS_ENDPOINT: &str = "https://storage.googleapis.com";

static CRYPTO_PROVIDER: Once = Once::new();

impl CloudStore {
    /// What begins with `prefix` in a container of Azure Blob Storage. Nothing is read yet. The account is the
    /// environment's if none is given.
    ///
    /// # Errors
    /// [`StoreError::Credentials`] when there are none, or they cannot be read; [`StoreError::InvalidOption`].
    pub fn azure(
        account: Option<&str>,
        container: &str,
        prefix: &str,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let location = match account {
            Some(account) => format!("azure://{account}@{}", joined(container, prefix)),
            None => format!("azure://{}", joined(container, prefix)),
        };
        let transport = Transport { client: client(options, &location)?, kind: Kind::Azure, authority: None };
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_container_name(container)
            .with_retry(no_retries())
            .with_http_connector(transport);
        if let Some(account) = account {
            builder = builder.with_account(account);
        }
        if account == Some(EMULATOR_ACCOUNT) && builder.get_config_value(&AzureConfigKey::AccessKey).is_none()
        {
            builder = builder.with_access_key(EMULATOR_KEY);
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(checked_endpoint(endpoint, &location)?).with_use_emulator(false);
        }
        let is_account_missing = builder.get_config_value(&AzureConfigKey::AccountName).is_none();
        let is_emulator = builder.get_config_value(&AzureConfigKey::UseEmulator).as_deref() == Some("true");
        if is_account_missing && !is_emulator {
            let source =
                "there is no account: write azure://ACCOUNT@CONTAINER, or set AZURE_STORAGE_ACCOUNT_NAME";
            let reason = CredentialsReason::Missing;
            return Err(StoreError::Credentials { location, reason, source: Some(source.into()) });
        }
        let service = builder.build().map_err(|error| unusable(&location, error))?;
        Ok(Self::of(Box::new(service), Kind::Azure, prefix, location, options))
    }

    /// What begins with `prefix` in a bucket of Google Cloud Storage. Nothing is read yet.
    ///
    /// To an endpoint without TLS, an emulator's, no credentials are sent.
    ///
    /// # Errors
    /// [`StoreError::Credentials`] when they cannot be read; [`StoreError::InvalidOption`].
    pub fn gcs(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let location = format!("gs://{}", joined(bucket, prefix));
        let mut builder = GoogleCloudStorageBuilder::from_env();
        let configured = builder.get_config_value(&GoogleConfigKey::BaseUrl);
        let endpoint = options.endpoint.clone().or(configured).unwrap_or_else(|| GCS_ENDPOINT.to_owned());
        let endpoint = checked_endpoint(&endpoint, &location)?;
        if endpoint.starts_with("http://") {
            builder = GoogleCloudStorageBuilder::new().with_bearer_token("none");
        }
        let authority = endpoint.split_once("://").and_then(|(_, rest)| rest.split('/').next());
        let authority = authority.map(str::to_owned);
        let transport = Transport { client: client(options, &location)?, kind: Kind::Gcs, authority };
        let service = builder
            .with_base_url(&endpoint)
            .with_bucket_name(bucket)
            .with_retry(no_retries())
            .with_http_connector(transport)
            .build()
            .map_err(|error| unusable(&location, error))?;
        Ok(Self::of(Box::new(service), Kind::Gcs, prefix, location, options))
    }

    fn of(
        service: Box<dyn super::Service>,
        kind: Kind,
        prefix: &str,
        location: String,
        options: &StoreOptions,
    ) -> Self {
        let root = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { service, kind, root, location, pack_class: options.storage_class_packs.clone() }
    }
}

fn joined(bucket: &str, prefix: &str) -> String {
    if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}/{prefix}") }
}

fn no_retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

fn checked_endpoint(endpoint: &str, location: &str) -> Result<String, StoreError> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(['@', '?', '#'])) {
        // Not shown when it may hold a password.
        let shown = if endpoint.contains('@') { "..." } else { endpoint };
        return Err(invalid_option("endpoint", shown, location));
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

fn invalid_option(option: &'static str, value: &str, location: &str) -> StoreError {
    StoreError::InvalidOption { option, value: value.to_owned(), location: location.to_owned() }
}

/// One client for all that a store asks. No timeout of its own: it would count from the first byte of an upload.
fn client(options: &StoreOptions, location: &str) -> Result<reqwest::Client, StoreError> {
    // Another one that this process has chosen is as good.
    CRYPTO_PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let mut builder =
        reqwest::Client::builder().http1_only().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
    if let Some(path) = &options.ca_bundle {
        let pem = fs::read(path).map_err(|source| StoreError::Io {
            operation: Operation::Open,
            object: path.display().to_string(),
            location: location.to_owned(),
            source,
        })?;
        let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
        let certificates = certificates.ok_or_else(|| {
            invalid_option("bundle of CA certificates", &path.display().to_string(), location)
        })?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| StoreError::Io {
        operation: Operation::Open,
        object: "the store".to_owned(),
        location: location.to_owned(),
        source: std::io::Error::other(error),
    })
}

/// What a builder finds wrong, once names and endpoint are there, are credentials.
fn unusable(location: &str, error: object_store::Error) -> StoreError {
    let (location, reason) = (location.to_owned(), CredentialsReason::Missing);
    StoreError::Credentials { location, reason, source: Some(error.into()) }
}
