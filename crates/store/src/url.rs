//! Where a repository is, as people write it.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::cloud::CloudStore;
use crate::decorators::{LimitStore, Limits, RetryPolicy, RetryStore};
use crate::error::{StoreError, UrlReason};
use crate::local::LocalStore;
use crate::name::PREFIX_MAX_BYTES;
use crate::options::StoreOptions;
use crate::s3::S3Store;
use crate::store::Store;

/// Where a store is. Prefixes are taken literally (no `%` escapes), may hold any letters, and have no `/` at either
/// end; the empty one is the whole bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `/path`, `path`, or `file:///path` (where `%` escapes are understood).
    Local(PathBuf),
    /// `s3://bucket/prefix`
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// What every key begins with, before a `/`.
        prefix: String,
    },
    /// `azure://container/prefix` or `azure://account@container/prefix`
    Azure {
        /// The storage account; else that of the environment.
        account: Option<String>,
        /// Name of the container.
        container: String,
        /// What every blob's name begins with, before a `/`.
        prefix: String,
    },
    /// `gs://bucket/prefix`
    Gcs {
        /// Name of the bucket.
        bucket: String,
        /// What every object's name begins with, before a `/`.
        prefix: String,
    },
}

impl StoreUrl {
    /// The bucket or container, as its owner calls it; of a folder its path.
    #[must_use]
    pub fn bucket(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::S3 { bucket, .. } | Self::Gcs { bucket, .. } => bucket.clone(),
            Self::Azure { container, .. } => container.clone(),
        }
    }

    /// Understands a path or URL.
    ///
    /// # Errors
    /// [`StoreError::InvalidUrl`], which repeats no credentials.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        parse(text).map_err(|reason| StoreError::InvalidUrl { url: without_credentials(text), reason })
    }

    /// Opens the store that is there, with the limits of `options`; what is remote tries again what fails in passing.
    /// Of a bucket nothing is read: whether it exists, the first call tells.
    ///
    /// # Errors
    /// As [`LocalStore::open`], [`S3Store::open`], [`CloudStore::azure`], [`CloudStore::gcs`].
    pub fn open(&self, options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Local(path) => Ok(limited(LocalStore::open(path)?, options)),
            Self::S3 { bucket, prefix } => Ok(remote(S3Store::open(bucket, prefix, options)?, options)),
            Self::Azure { account, container, prefix } => {
                let store = CloudStore::azure(account.as_deref(), container, prefix, options)?;
                Ok(remote(store, options))
            }
            Self::Gcs { bucket, prefix } => Ok(remote(CloudStore::gcs(bucket, prefix, options)?, options)),
        }
    }

    /// Makes a new store, and opens it. Folders are made; buckets must be there already, and whoever begins a
    /// repository there finds out by its first object whether the prefix is free.
    ///
    /// # Errors
    /// As [`LocalStore::create`] and [`StoreUrl::open`].
    pub fn create(&self, options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Local(path) => Ok(limited(LocalStore::create(path)?, options)),
            _ => self.open(options),
        }
    }
}

/// Every attempt is charged to the limits.
fn remote(store: impl Store + 'static, options: &StoreOptions) -> Arc<dyn Store> {
    let mut policy = RetryPolicy::default();
    if let Some(deadline) = options.deadline {
        policy.deadline = deadline;
        policy.first_contact = policy.first_contact.min(deadline);
    }
    Arc::new(RetryStore::new(limited(store, options), policy))
}

fn limited(store: impl Store + 'static, options: &StoreOptions) -> Arc<dyn Store> {
    let limits = Limits {
        upload_bytes_per_second: options.upload_bytes_per_second.and_then(NonZeroU64::new),
        download_bytes_per_second: options.download_bytes_per_second.and_then(NonZeroU64::new),
        requests_per_second: options.requests_per_second.and_then(|rate| NonZeroU64::new(rate.into())),
        connections: options.connections.and_then(NonZeroUsize::new),
    };
    if limits == Limits::default() { Arc::new(store) } else { Arc::new(LimitStore::new(store, limits)) }
}

fn parse(text: &str) -> Result<StoreUrl, UrlReason> {
    if text.is_empty() {
        return Err(UrlReason::Empty);
    }
    let Some((scheme, rest)) = scheme(text) else { return Ok(StoreUrl::Local(text.into())) };
    let Some(rest) = rest.strip_prefix("//") else {
        // A relative path may hold a colon; one that looks like a store is a slip of the keyboard.
        return match scheme.as_str() {
            "file" | "s3" | "azure" | "gs" => Err(UrlReason::NoAuthority),
            _ => Ok(StoreUrl::Local(text.into())),
        };
    };
    if !matches!(scheme.as_str(), "file" | "s3" | "azure" | "gs") {
        return Err(UrlReason::UnknownScheme);
    }
    if scheme == "file" {
        return file_path(rest);
    }
    if rest.contains(['?', '#']) {
        return Err(UrlReason::Query);
    }
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, bucket) = match authority.rsplit_once('@') {
        Some((user, bucket)) => (Some(user), bucket),
        None => (None, authority),
    };
    if user.is_some_and(|user| scheme != "azure" || user.contains(':')) {
        return Err(UrlReason::Credentials);
    }
    if bucket.is_empty() {
        return Err(UrlReason::NoBucket);
    }
    if !is_bucket(bucket) || user.is_some_and(|account| !is_bucket(account)) {
        return Err(UrlReason::InvalidBucket);
    }
    let (bucket, prefix) = (bucket.to_owned(), checked_prefix(prefix)?);
    Ok(match scheme.as_str() {
        "s3" => StoreUrl::S3 { bucket, prefix },
        "azure" => StoreUrl::Azure { account: user.map(str::to_owned), container: bucket, prefix },
        _ => StoreUrl::Gcs { bucket, prefix },
    })
}

/// The scheme in lower case, and what follows the colon.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn file_path(rest: &str) -> Result<StoreUrl, UrlReason> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(UrlReason::NotLocal);
    }
    if path.contains(['?', '#']) {
        return Err(UrlReason::Query);
    }
    let bytes = decoded(path).ok_or(UrlReason::InvalidEscape)?;
    let path = String::from_utf8(bytes).map_err(|_| UrlReason::InvalidEscape)?;
    if path.contains('\0') {
        return Err(UrlReason::InvalidEscape);
    }
    Ok(StoreUrl::Local(path.into()))
}

/// `%` escapes undone; `None` for one that is wrong.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let Some((&first, rest)) = left.split_first() {
        left = rest;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, rest) = left.split_at_checked(2)?;
        bytes.push(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?);
        left = rest;
    }
    Some(bytes)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// What some service may call a bucket, container or account; the service knows its own rules better.
fn is_bucket(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn checked_prefix(prefix: &str) -> Result<String, UrlReason> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Ok(String::new());
    }
    if prefix.len() > PREFIX_MAX_BYTES {
        return Err(UrlReason::TooLong);
    }
    let is_wrong = |component: &str| matches!(component, "" | "." | "..");
    if prefix.split('/').any(is_wrong) || prefix.contains(|c: char| c.is_control() || c == '\\') {
        return Err(UrlReason::InvalidPrefix);
    }
    Ok(prefix.to_owned())
}

/// For messages. Whatever stands before an `@` may be a secret, and so may what a query holds.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = match rest.rsplit_once('@') {
        Some((_, rest)) => format!("...@{rest}"),
        None => rest.to_owned(),
    };
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}://{rest}?..."),
        None => format!("{scheme}://{rest}"),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, account, bucket, prefix) = match self {
            Self::Local(path) => return write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix } => ("s3", None, bucket, prefix),
            Self::Azure { account, container, prefix } => ("azure", account.as_ref(), container, prefix),
            Self::Gcs { bucket, prefix } => ("gs", None, bucket, prefix),
        };
        write!(f, "{scheme}://")?;
        if let Some(account) = account {
            write!(f, "{account}@")?;
        }
        f.write_str(bucket)?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> UrlReason {
        match StoreUrl::parse(text) {
            Err(StoreError::InvalidUrl { reason, .. }) => reason,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn paths_and_file_urls_are_local() {
        for (text, path) in [
            ("/var/backups", "/var/backups"),
            ("relative/é", "relative/é"),
            ("./a:b", "./a:b"),
            ("c:/x", "c:/x"),
            ("file:///var/a%20b%C3%A9", "/var/a bé"),
            ("FILE://localhost/a/", "/a/"),
        ] {
            assert_eq!(StoreUrl::parse(text).unwrap(), StoreUrl::Local(path.into()), "{text}");
        }
    }

    #[test]
    fn buckets_have_prefixes() {
        let s3 = |bucket: &str, prefix: &str| StoreUrl::S3 { bucket: bucket.into(), prefix: prefix.into() };
        for (text, url) in [
            ("s3://bucket", s3("bucket", "")),
            ("s3://bucket/", s3("bucket", "")),
            ("S3://bucket.example/a/b/", s3("bucket.example", "a/b")),
            ("s3://bucket/Sicherung für ü/日本 %20+@:", s3("bucket", "Sicherung für ü/日本 %20+@:")),
            ("gs://b_1/p", StoreUrl::Gcs { bucket: "b_1".into(), prefix: "p".into() }),
        ] {
            let parsed = StoreUrl::parse(text).unwrap();
            assert_eq!(parsed, url, "{text}");
            assert_eq!(StoreUrl::parse(&parsed.to_string()).unwrap(), url, "{text}");
        }
        for (text, account) in [("azure://c-1/p", None), ("azure://acc@c-1/p", Some("acc".to_owned()))] {
            let parsed = StoreUrl::parse(text).unwrap();
            let url = StoreUrl::Azure { account, container: "c-1".into(), prefix: "p".into() };
            assert_eq!(parsed, url);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_is_told_apart() {
        for (text, expected) in [
            ("", UrlReason::Empty),
            ("http://bucket/a", UrlReason::UnknownScheme),
            ("minio://bucket/a", UrlReason::UnknownScheme),
            ("s3:bucket/a", UrlReason::NoAuthority),
            ("s3:/bucket/a", UrlReason::NoAuthority),
            ("file:/a", UrlReason::NoAuthority),
            ("s3://", UrlReason::NoBucket),
            ("s3:///prefix", UrlReason::NoBucket),
            ("azure://account@/p", UrlReason::NoBucket),
            ("s3://localhost:9000/bucket", UrlReason::InvalidBucket),
            ("gs://bück/a", UrlReason::InvalidBucket),
            ("azure://@container/p", UrlReason::InvalidBucket),
            ("s3://key:secret@bucket/a", UrlReason::Credentials),
            ("s3://key@bucket/a", UrlReason::Credentials),
            ("azure://account:key@container", UrlReason::Credentials),
            ("s3://bucket/a?region=x", UrlReason::Query),
            ("file:///a#b", UrlReason::Query),
            ("file://host/a", UrlReason::NotLocal),
            ("file://a", UrlReason::NotLocal),
            ("file:///a%2", UrlReason::InvalidEscape),
            ("file:///a%zz", UrlReason::InvalidEscape),
            ("file:///a%ff", UrlReason::InvalidEscape),
            ("file:///a%00", UrlReason::InvalidEscape),
            ("s3://bucket//a", UrlReason::InvalidPrefix),
            ("s3://bucket/a//", UrlReason::InvalidPrefix),
            ("s3://bucket/../a", UrlReason::InvalidPrefix),
            ("s3://bucket/a\nb", UrlReason::InvalidPrefix),
            (&format!("s3://bucket/{}", "a".repeat(769)), UrlReason::TooLong),
        ] {
            assert_eq!(reason(text), expected, "{text}");
        }
        StoreUrl::parse(&format!("s3://bucket/{}", "a".repeat(768))).unwrap();
    }

    #[test]
    fn errors_repeat_no_secrets() {
        for text in ["s3://AKIA:hunter2@bucket/a", "ftp://u:hunter2@b@c", "s3://bucket/a?token=hunter2"] {
            let said = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
