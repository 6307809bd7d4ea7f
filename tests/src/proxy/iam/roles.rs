//! The policies of `deploy/iam/`, filled in.

use anyhow::{Result, ensure};

use super::policy::Policy;
use crate::services::moto::ACCOUNT;

/// Who does something with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Writes snapshots, and cannot read what it wrote.
    Backup,
    /// Reads everything; verifies too.
    Restore,
    /// Deletes what is retired, and cannot read data.
    Prune,
    /// Checks structure.
    Audit,
    /// Manages keys, signers and policies.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Restore, Self::Prune, Self::Audit, Self::Admin];

    /// `backup`, ...
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Prune => "prune",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }

    /// Its policy as it is shipped, with placeholders.
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::Backup => include_str!("../../../../deploy/iam/backup.json"),
            Self::Restore => include_str!("../../../../deploy/iam/restore.json"),
            Self::Prune => include_str!("../../../../deploy/iam/prune.json"),
            Self::Audit => include_str!("../../../../deploy/iam/audit.json"),
            Self::Admin => include_str!("../../../../deploy/iam/admin.json"),
        }
    }
}

/// The policy of a bucket as it is shipped, with placeholders.
pub const BUCKET_POLICY: &str = include_str!("../../../../deploy/iam/bucket-policy.json");

/// What roles need besides when objects are encrypted by S3 under a KMS key (SSE-KMS), with placeholders.
pub const SSE_KMS: &str = include_str!("../../../../deploy/iam/sse-kms.json");

/// The ARN of a role of that name.
#[must_use]
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// What the placeholders stand for.
#[derive(Debug, Clone)]
pub struct Filling {
    /// `${BUCKET}`
    pub bucket: String,
    /// `${PREFIX}`: ends with a slash, or is empty.
    pub prefix: String,
    /// `${KMS_KEY_ARN}`
    pub kms_key_arn: String,
    /// `${REPOSITORY_ID}`: 32 hexadecimal digits; `*` for an administrator who makes a repository.
    pub repository_id: String,
    /// `${WRITER_ID}`: 32 hexadecimal digits.
    pub writer_id: String,
    /// `${ADMIN_ROLE_ARN}`
    pub admin_role_arn: String,
    /// `${MAX_RETENTION_DAYS}`
    pub max_retention_days: u32,
}

impl Filling {
    /// For a repository at `s3://BUCKET/PREFIX` and one KMS key; the administrator is the role `admin`.
    #[must_use]
    pub fn new(bucket: &str, prefix: &str, kms_key_arn: &str, repository_id: &str, writer_id: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            kms_key_arn: kms_key_arn.to_owned(),
            repository_id: repository_id.to_owned(),
            writer_id: writer_id.to_owned(),
            admin_role_arn: role_arn(Role::Admin.name()),
            max_retention_days: 400,
        }
    }

    /// The policy of a role.
    ///
    /// # Errors
    /// When it is not one that the proxy understands.
    pub fn policy(&self, role: Role) -> Result<Policy> {
        Policy::of_identity(&self.fill(role.template())?)
    }

    /// The policy of the bucket.
    ///
    /// # Errors
    /// When it is not one that the proxy understands.
    pub fn bucket_policy(&self) -> Result<Policy> {
        Policy::of_resource(&self.fill(BUCKET_POLICY)?)
    }

    /// A template with every placeholder replaced.
    ///
    /// # Errors
    /// When one is not known.
    pub fn fill(&self, template: &str) -> Result<String> {
        let mut text = template.to_owned();
        for (name, value) in [
            ("BUCKET", &self.bucket),
            ("PREFIX", &self.prefix),
            ("KMS_KEY_ARN", &self.kms_key_arn),
            ("REPOSITORY_ID", &self.repository_id),
            ("WRITER_ID", &self.writer_id),
            ("ADMIN_ROLE_ARN", &self.admin_role_arn),
            ("MAX_RETENTION_DAYS", &self.max_retention_days.to_string()),
            ("SSE_KMS_KEY_ARN", &self.kms_key_arn),
            ("REGION", &crate::services::aws::REGION.to_owned()),
        ] {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        let unknown = text.find("${").map(|start| text[start..].chars().take(40).collect::<String>());
        ensure!(unknown.is_none(), "an unknown placeholder: {}", unknown.unwrap_or_default());
        Ok(text)
    }
}
