//! `backup s3`, and where buckets are.

use std::path::PathBuf;

use anyhow::Context as _;
use strongroom_engines::Engine as _;
use strongroom_engines::s3::{Bucket, BucketTarget, S3Error, Shard};
use strongroom_repository::share::Share;
use strongroom_store::StoreUrl;

use super::backup::{self, Asked, MOST_JOBS, Told};
use crate::arguments::{BackupS3, S3Connection};
use crate::context::Context;
use crate::exit::Outcome;

/// Requests under way: more than that is a typing error.
const MOST_REQUESTS: usize = MOST_JOBS * 8;

pub(crate) fn backup(context: &Context<'_>, arguments: &BackupS3) -> anyhow::Result<Outcome> {
    let target = target(context, &arguments.bucket, &arguments.connection, arguments.ca_file.as_ref())?;
    let part = backup::part_of(&arguments.group)?;
    let depth = arguments.shard_depth;
    let shard = arguments.group.shard.map(|Share { number, of }| Shard { number, of, depth });
    let left_out = own_prefixes(context, &target, true)?;
    let name = format!("s3:{}/{}", target.bucket, target.prefix);
    let name = name.trim_end_matches('/');
    let mut common = arguments.common.clone();
    let source = common.source.take().filter(|source| !source.is_empty()).unwrap_or_else(|| name.to_owned());
    let source = match shard.filter(|_| part.is_none()) {
        Some(shard) => format!("{source}.shard-{shard}"),
        None => source,
    };
    let engine = Bucket {
        target,
        current_only: arguments.current_only,
        no_tags: arguments.no_tags,
        shard,
        is_grouped: part.is_some(),
        left_out,
        requests: arguments.requests.clamp(1, MOST_REQUESTS),
    };
    let asked = vec![arguments.bucket.clone().into_bytes()];
    tracing::debug!(engine = engine.name(), source, "backing up a bucket");
    let asked = Asked { source: &source, words: asked, force: arguments.force, part };
    backup::run_as(context, &engine, &common, asked, &Told::default).context("no snapshot was made")
}

/// A bucket, with the key of the environment where it has one of its own.
///
/// # Errors
/// `NotABucket`
pub(super) fn target(
    context: &Context<'_>,
    bucket: &str,
    connection: &S3Connection,
    ca_file: Option<&PathBuf>,
) -> Result<BucketTarget, S3Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let key = variable("STRONGROOM_S3_ACCESS_KEY_ID");
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    Ok(BucketTarget {
        endpoint: given(&connection.s3_endpoint),
        region: given(&connection.s3_region),
        profile: given(&connection.s3_profile),
        ca_file: ca_file.filter(|file| !file.as_os_str().is_empty()).cloned(),
        login: key.zip(variable("STRONGROOM_S3_SECRET_ACCESS_KEY")),
        retry_for: context.global.store.retry_for,
        ..BucketTarget::parse(bucket)?
    })
}

/// What keys of the repository begin with, if it lies in that bucket. Where `by_service`, a bucket of the same name at
/// another endpoint is another one; to be safe from writing into the repository, one should not rely on that.
///
/// # Errors
/// When an endpoint makes no sense.
pub(super) fn own_prefixes(
    context: &Context<'_>,
    target: &BucketTarget,
    by_service: bool,
) -> anyhow::Result<Vec<String>> {
    let store = &context.global.store;
    let urls = [context.global.repo.as_deref(), store.hot_store.as_deref()];
    let mut prefixes = Vec::new();
    for url in urls.into_iter().flatten() {
        let Ok(StoreUrl::S3 { bucket, prefix }) = StoreUrl::parse(url) else { continue };
        if bucket != target.bucket {
            continue;
        }
        let repository = BucketTarget { endpoint: store.endpoint.clone(), ..BucketTarget::default() };
        let is_same = !by_service || same(repository.service()?, target.service()?);
        if is_same {
            prefixes.push(if prefix.is_empty() { String::new() } else { format!("{prefix}/") });
        }
    }
    Ok(prefixes)
}

fn same(one: Option<String>, two: Option<String>) -> bool {
    let plain = |url: Option<String>| url.map(|url| url.trim_end_matches('/').to_ascii_lowercase());
    plain(one) == plain(two)
}
