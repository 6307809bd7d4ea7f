//! How a bucket is set up, besides its objects.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::get_bucket_policy::GetBucketPolicyOutput;
use aws_sdk_s3::operation::get_bucket_tagging::GetBucketTaggingOutput;
use aws_sdk_s3::types::{BucketVersioningStatus, Tag, Tagging, VersioningConfiguration};
use serde::{Deserialize, Serialize};

use super::error::S3Error;
use super::listing::{RawAnswer, Versioning, versioning};
use super::session::{Session, failed};

/// The entry that holds it.
pub(super) const PATH: &str = "bucket.json";

/// Of a bucket, each part by the name of the request that asks for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Configuration {
    /// `enabled`, `suspended`, `off`.
    pub(super) versioning: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    /// As it was given: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    /// What else there is, by the request that asks for it: the answers, XML.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) others: BTreeMap<String, String>,
}

/// Reads it. Gives also what this caller may not see.
///
/// # Errors
/// When the service does not answer.
pub(super) fn read(
    session: &Session<'_>,
    versioning: Versioning,
) -> Result<(Configuration, Vec<String>), S3Error> {
    let mut configuration =
        Configuration { versioning: versioning.word().to_owned(), ..Configuration::default() };
    let mut denied = Vec::new();
    if versioning == Versioning::Denied {
        denied.push("GetBucketVersioning".to_owned());
    }
    // `$ask` is a request, `$keep` keeps what it answers.
    macro_rules! part {
        ($operation:literal, $ask:ident, $keep:expr) => {{
            let request = session.client.$ask().bucket(&session.bucket);
            let asked =
                session.call($operation, "", || async { request.clone().send().await.map_err(failed) });
            let keep: fn(&mut Configuration, _) = $keep;
            kept(asked, $operation, &mut denied)?
                .into_iter()
                .for_each(|answer| keep(&mut configuration, answer));
        }};
        ($operation:literal, $ask:ident) => {{
            let request = session.client.$ask().bucket(&session.bucket);
            let raw = RawAnswer::new(false);
            let asked = session.call($operation, "", || async {
                let answer = request.clone().customize().interceptor(raw.clone()).send().await;
                raw.body_of(answer)
            });
            if let Some(xml) = kept(asked, $operation, &mut denied)? {
                configuration
                    .others
                    .insert($operation.to_owned(), String::from_utf8_lossy(&xml).into_owned());
            }
        }};
    }
    part!("GetBucketTagging", get_bucket_tagging, |configuration, answer: GetBucketTaggingOutput| {
        configuration.tags = answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect();
    });
    part!("GetBucketPolicy", get_bucket_policy, |configuration, answer: GetBucketPolicyOutput| {
        configuration.policy = answer.policy;
    });
    part!("GetBucketLifecycleConfiguration", get_bucket_lifecycle_configuration);
    part!("GetBucketCors", get_bucket_cors);
    part!("GetBucketEncryption", get_bucket_encryption);
    part!("GetBucketNotificationConfiguration", get_bucket_notification_configuration);
    part!("GetObjectLockConfiguration", get_object_lock_configuration);
    part!("GetBucketWebsite", get_bucket_website);
    part!("GetBucketOwnershipControls", get_bucket_ownership_controls);
    part!("GetPublicAccessBlock", get_public_access_block);
    part!("GetBucketReplication", get_bucket_replication);
    part!("GetBucketLogging", get_bucket_logging);
    Ok((configuration, denied))
}

/// An answer, unless there is none: the bucket has no such thing, the service does not know it, or it is denied.
fn kept<T>(
    asked: Result<T, S3Error>,
    operation: &str,
    denied: &mut Vec<String>,
) -> Result<Option<T>, S3Error> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_denied() => {
            denied.push(operation.to_owned());
            Ok(None)
        }
        // 404, 400, 405, 501; and 200 with what the SDK does not understand.
        Err(error) if error.status().is_some_and(|status| status != 503) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Configuration {
    /// Gives a bucket versioning, tags and policy; `was` is the name of that which had them. Gives the names of what was not set.
    ///
    /// # Errors
    /// `Request`
    pub(super) fn give(&self, session: &Session<'_>, was: &str) -> Result<Vec<String>, S3Error> {
        let status = match self.versioning.as_str() {
            "enabled" => Some(BucketVersioningStatus::Enabled),
            "suspended" => Some(BucketVersioningStatus::Suspended),
            _ => None,
        };
        let is_so = versioning(session)?.0.word() == self.versioning;
        if let Some(status) = status.filter(|_| !is_so) {
            let how = VersioningConfiguration::builder().status(status).build();
            let request =
                session.client.put_bucket_versioning().bucket(&session.bucket).versioning_configuration(how);
            session
                .call("PutBucketVersioning", "", || async { request.clone().send().await.map_err(failed) })?;
        }
        let tags: Result<Vec<Tag>, _> =
            self.tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect();
        if let Some(tags) = tags.ok().filter(|tags| !tags.is_empty())
            && let Ok(tagging) = Tagging::builder().set_tag_set(Some(tags)).build()
        {
            let request = session.client.put_bucket_tagging().bucket(&session.bucket).tagging(tagging);
            session
                .call("PutBucketTagging", "", || async { request.clone().send().await.map_err(failed) })?;
        }
        if let Some(policy) = &self.policy {
            // It names the bucket.
            let arn = |bucket: &str| format!("arn:aws:s3:::{bucket}");
            let policy = &policy.replace(&arn(was), &arn(&session.bucket));
            let request = session.client.put_bucket_policy().bucket(&session.bucket).policy(policy);
            session.call("PutBucketPolicy", "", || async { request.clone().send().await.map_err(failed) })?;
        }
        Ok(self.others.keys().cloned().collect())
    }
}
