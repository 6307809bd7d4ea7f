//! The list of a bucket, a page at a time: only what was asked for, and never out of order.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::EncodingType;
use aws_smithy_runtime_api::http::Response;
use strongroom_format::path::EntryPath;
use strongroom_store::aws::Failure;

use super::error::S3Error;
use super::key::Place;
use super::listed::{self, ListPage, ListedObject};
use super::order::{Listed, Page, Pages, Position};
use super::session::{Session, broken, failed};
use super::shard::Shard;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is there now.
    Objects,
    /// Also what was, and delete markers.
    Versions,
}

/// How a bucket keeps versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioning {
    Never,
    Enabled,
    Suspended,
    /// This caller may not know.
    Denied,
}

impl Versioning {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Never => "off",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
            Self::Denied => "not known: this caller may not ask",
        }
    }
}

/// An object, a version of one, or a delete marker, in the order of the snapshot.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// Without what all keys of the backup begin with.
    pub(super) key: String,
    pub(super) path: EntryPath,
    pub(super) listed: ListedObject,
}

impl Listed for Object {
    fn key(&self) -> &str {
        &self.key
    }

    fn path(&self) -> &EntryPath {
        &self.path
    }
}

/// See the [module](self).
pub(super) struct Listing<'s, 'm> {
    pub(super) session: &'s Session<'m>,
    pub(super) kind: Kind,
    /// Whether the service lists tags, which only MinIO does.
    pub(super) with_tags: bool,
    /// Beginnings of keys that are not wanted, without what all keys of the backup begin with.
    pub(super) left_out: &'s [String],
    pub(super) shard: Option<Shard>,
}

impl Pages for Listing<'_, '_> {
    type Item = Object;
    type Error = S3Error;

    fn next(&mut self, prefix: &str, after: &Position) -> Result<Option<Page<Object>>, S3Error> {
        if self.session.monitor.is_cancelled() {
            return Ok(None);
        }
        let page = self.page(prefix, after)?;
        let senseless = |key: &str, why: String| S3Error::Listing {
            bucket: self.session.name.clone(),
            key: key.to_owned(),
            why,
        };
        let mut position = after.clone();
        let mut items = Vec::with_capacity(page.objects.len());
        for listed in page.objects {
            let own = listed.key.strip_prefix(&self.session.prefix).filter(|key| key.starts_with(prefix));
            let Some(key) = own.map(str::to_owned) else {
                let why = format!("{:?} does not begin with {:?}", listed.key, self.session.key(prefix));
                return Err(senseless(&position.key, why));
            };
            let is_same = key == position.key && self.kind == Kind::Versions && position.version.is_some();
            if !is_same && !position.key.is_empty() && key <= position.key {
                return Err(senseless(&position.key, format!("{key:?} comes later")));
            }
            if !is_same {
                position.older = 0;
            }
            let is_current = listed.is_latest && !listed.is_delete_marker;
            position.older += u64::from(!is_current);
            position.version.clone_from(&listed.version);
            position.key.clone_from(&key);
            if key.is_empty() || self.is_left_out(&key) {
                continue;
            }
            let place = Place { key, version: if is_current { 0 } else { position.older } };
            let path = place.path().map_err(|error| senseless(&place.key, error.to_string()))?;
            items.push(Object { key: place.key, path, listed });
        }
        if !page.is_truncated {
            return Ok(Some(Page { items, next: None }));
        }
        if position == *after {
            // Else the list would never end.
            return Err(senseless(&position.key, "it goes on with nothing".into()));
        }
        let skipped = self.foreign(&position.key).map(Position::behind);
        let next = skipped.filter(|behind| behind.key > position.key).unwrap_or(position);
        Ok(Some(Page { items, next: Some(next) }))
    }
}

impl Listing<'_, '_> {
    fn is_left_out(&self, key: &str) -> bool {
        self.left_out.iter().any(|prefix| key.starts_with(prefix))
            || self.shard.is_some_and(|shard| !shard.has(key))
    }

    /// The beginning of a key below which nothing is wanted.
    fn foreign<'k>(&'k self, key: &'k str) -> Option<&'k str> {
        let left_out = self.left_out.iter().find(|prefix| key.starts_with(prefix.as_str()));
        let of_others = || self.shard.filter(|shard| !shard.has(key))?.group(key);
        left_out.map(String::as_str).filter(|prefix| !prefix.is_empty()).or_else(of_others)
    }

    fn page(&self, prefix: &str, after: &Position) -> Result<ListPage, S3Error> {
        let session = self.session;
        let whole_prefix = session.key(prefix);
        let after_key = Some(session.key(&after.key)).filter(|_| !after.key.is_empty());
        match self.kind {
            Kind::Objects => {
                let request = session
                    .client
                    .list_objects_v2()
                    .bucket(&session.bucket)
                    .prefix(&whole_prefix)
                    .encoding_type(EncodingType::Url)
                    .set_start_after(after_key);
                session.call("ListObjectsV2", &whole_prefix, || async {
                    let raw = RawAnswer::new(self.with_tags);
                    let request = request.clone().customize().interceptor(raw.clone());
                    let answer = request.send().await;
                    raw.body_of(answer).and_then(|body| listed::parse(&body).map_err(broken))
                })
            }
            Kind::Versions => {
                let request = session
                    .client
                    .list_object_versions()
                    .bucket(&session.bucket)
                    .prefix(&whole_prefix)
                    .encoding_type(EncodingType::Url)
                    .set_key_marker(after_key)
                    .set_version_id_marker(after.version.clone());
                session.call("ListObjectVersions", &whole_prefix, || async {
                    let raw = RawAnswer::new(self.with_tags);
                    let request = request.clone().customize().interceptor(raw.clone());
                    let answer = request.send().await;
                    raw.body_of(answer).and_then(|body| listed::parse(&body).map_err(broken))
                })
            }
        }
    }
}

/// How the bucket keeps versions, and whether the service is a MinIO.
///
/// # Errors
/// `Request`.
pub(super) fn versioning(session: &Session<'_>) -> Result<(Versioning, bool), S3Error> {
    let request = session.client.get_bucket_versioning().bucket(&session.bucket);
    let raw = RawAnswer::new(false);
    let asked = session.call("GetBucketVersioning", "", || async {
        let answer = request.clone().customize().interceptor(raw.clone()).send().await;
        raw.body_of(answer)
    });
    let versioning = match asked {
        Ok(xml) => match String::from_utf8_lossy(&xml).split_once("<Status>") {
            Some((_, status)) if status.starts_with("Enabled<") => Versioning::Enabled,
            Some(_) => Versioning::Suspended,
            None => Versioning::Never,
        },
        Err(error) if error.is_denied() => Versioning::Denied,
        Err(error) => return Err(error),
    };
    Ok((versioning, raw.is_minio.load(Ordering::Relaxed)))
}

/// Keeps an answer as it came.
#[derive(Debug, Clone)]
pub(super) struct RawAnswer {
    body: Arc<Mutex<Option<Vec<u8>>>>,
    is_minio: Arc<AtomicBool>,
    with_tags: bool,
}

impl RawAnswer {
    pub(super) fn new(with_tags: bool) -> Self {
        Self { body: Arc::default(), is_minio: Arc::default(), with_tags }
    }

    /// That of an answer that says yes, whatever the SDK makes of it: services differ in how they call its root.
    pub(super) fn body_of<T, E>(&self, answer: Result<T, SdkError<E, Response>>) -> Result<Vec<u8>, Failure>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (body, answer) {
            (Some(body), _) => Ok(body),
            (None, Err(error)) => Err(failed(error)),
            (None, Ok(_)) => Err(broken("the answer has no body")),
        }
    }
}

impl Intercept for RawAnswer {
    fn name(&self) -> &'static str {
        "RawAnswer"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.with_tags {
            let uri = format!("{}&metadata=true", context.request().uri());
            context.request_mut().set_uri(uri)?;
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        let is_minio = answer.headers().get("server").is_some_and(|server| server.starts_with("MinIO"));
        self.is_minio.store(is_minio, Ordering::Relaxed);
        let body = answer.body().bytes().filter(|_| answer.status().is_success()).map(<[u8]>::to_vec);
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = body;
        Ok(())
    }
}
