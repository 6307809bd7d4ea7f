//! Object Lock: versions that nobody can delete before their time.

use std::sync::PoisonError;
use std::time::SystemTime;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};

use crate::capability::{LockMode, ObjectLock, Retention};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::s3::S3Store;

impl S3Store {
    /// What a put of this name asks for. The date is this machine's, whose clock the service has to agree with to
    /// within minutes, or it believes no request.
    pub(super) fn retention_of(&self, name: &ObjectName) -> (Option<ObjectLockMode>, Option<DateTime>) {
        let until = |lock: ObjectLock| SystemTime::now().checked_add(lock.duration_of(name)?);
        match self.lock().and_then(|lock| Some((lock.mode, until(lock)?))) {
            Some((mode, until)) => {
                let mode = match mode {
                    LockMode::Governance => ObjectLockMode::Governance,
                    LockMode::Compliance => ObjectLockMode::Compliance,
                };
                (Some(mode), Some(DateTime::from(until)))
            }
            None => (None, None),
        }
    }
}

impl Retention for S3Store {
    fn set(&self, lock: Option<ObjectLock>) {
        *self.lock.write().unwrap_or_else(PoisonError::into_inner) = lock;
    }

    /// One request for an object that is retained for long enough, and two for others: a HEAD costs a tenth of what is
    /// paid for a change.
    fn extend(&self, name: &ObjectName, until_ms: u64) -> Result<(), StoreError> {
        let head = self.head(Operation::Retain, name)?;
        // Whole seconds, rounded up: services round down.
        let until_secs = i64::try_from(until_ms.div_ceil(1000)).unwrap_or(i64::MAX);
        if head.object_lock_retain_until_date().is_some_and(|date| date.secs() >= until_secs) {
            return Ok(());
        }
        let is_compliance = head.object_lock_mode() == Some(&ObjectLockMode::Compliance)
            || self.lock().is_some_and(|lock| lock.mode == LockMode::Compliance);
        let retention = ObjectLockRetention::builder()
            .mode(if is_compliance {
                ObjectLockRetentionMode::Compliance
            } else {
                ObjectLockRetentionMode::Governance
            })
            .retain_until_date(DateTime::from_secs(until_secs))
            .build();
        let request =
            self.client.put_object_retention().bucket(&self.bucket).key(self.key(name)).retention(retention);
        self.call(request.send()).map(|_| ()).map_err(|failed| self.error_on(Operation::Retain, name, failed))
    }

    /// By a HEAD; whoever may not know (`s3:GetObjectRetention`) is told `None`.
    fn retain_until(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let head = self.head(Operation::Stat, name)?;
        let until = head.object_lock_retain_until_date().and_then(|until| until.to_millis().ok());
        Ok(until.and_then(|until| u64::try_from(until).ok()))
    }
}
