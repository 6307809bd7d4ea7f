//! Cold storage: Glacier Flexible Retrieval, Deep Archive, and the archive tiers of Intelligent-Tiering.

use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass, Tier};

use crate::capability::{Archive, ThawState};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::s3::S3Store;

impl Archive for S3Store {
    fn thaw(&self, name: &ObjectName, days: u32) -> Result<(), StoreError> {
        let parameters = GlacierJobParameters::builder()
            .tier(Tier::Standard)
            .build()
            .map_err(|_| self.senseless(Operation::Thaw, name.as_str()))?;
        let days = i32::try_from(days.max(1)).unwrap_or(i32::MAX);
        let wanted = RestoreRequest::builder().days(days).glacier_job_parameters(parameters).build();
        let request =
            self.client.restore_object().bucket(&self.bucket).key(self.key(name)).restore_request(wanted);
        match self.call(request.send()) {
            Ok(_) => Ok(()),
            Err(failed) => match failed.code() {
                // Somebody asked before; or nothing has to be asked for.
                "RestoreAlreadyInProgress" | "ObjectAlreadyInActiveTierError" | "InvalidObjectState" => {
                    Ok(())
                }
                _ => Err(self.error_on(Operation::Thaw, name, failed)),
            },
        }
    }

    fn state(&self, name: &ObjectName) -> Result<ThawState, StoreError> {
        let head = self.head(Operation::Stat, name)?;
        let is_cold = head.archive_status().is_some()
            || matches!(head.storage_class(), Some(StorageClass::Glacier | StorageClass::DeepArchive));
        Ok(state(is_cold, head.restore()))
    }
}

/// `restore`: `ongoing-request="true"`, or `ongoing-request="false", expiry-date="..."` while there is a copy.
fn state(is_cold: bool, restore: Option<&str>) -> ThawState {
    match restore {
        _ if !is_cold => ThawState::Ready,
        Some(restore) if restore.contains("ongoing-request=\"true\"") => ThawState::Thawing,
        Some(_) => ThawState::Ready,
        None => ThawState::Frozen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_how_far_it_is() {
        let ready = r#"ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT""#;
        assert_eq!(state(true, None), ThawState::Frozen);
        assert_eq!(state(true, Some(r#"ongoing-request="true""#)), ThawState::Thawing);
        assert_eq!(state(true, Some(ready)), ThawState::Ready);
        assert_eq!(state(false, None), ThawState::Ready);
    }
}
