//! Giving files of a log back.

use std::io::Write;

use strongroom_format::ContentHash;
use strongroom_format::wal::{ATTEMPT_LIMIT, WalHead, part_count};
use strongroom_store::StoreError;

use super::ArchivedFile;
use crate::error::RepositoryError;
use crate::names;
use crate::repository::Repository;
use crate::state::describe;

impl Repository {
    /// Writes a file of a log archive to `out`, and gives its length; `None` when the archive does not have it. What was
    /// written before an error is no file.
    ///
    /// # Errors
    /// `LogFileUnavailable` when it is damaged; `DataKey` without the right to read; `Write`; `Store`.
    pub fn fetch_log_file(
        &self,
        file: &ArchivedFile,
        out: &mut dyn Write,
    ) -> Result<Option<u64>, RepositoryError> {
        let Some((first, mut plain)) = self.fetch_part(file, 0)? else { return Ok(None) };
        let unavailable = |reasons: &str| RepositoryError::LogFileUnavailable {
            file: file.to_string(),
            reasons: reasons.to_owned(),
        };
        let count = part_count(first.file_bytes);
        let mut hasher = self.identity.log_file_hasher();
        for number in 0..count {
            if number > 0 {
                let Some((head, part)) = self.fetch_part(file, number)? else {
                    return Err(unavailable(&format!("part {number} of {count} is not there")));
                };
                if head.file_hash != first.file_hash || head.file_bytes != first.file_bytes {
                    return Err(unavailable(&format!("part {number} is of another file of that name")));
                }
                plain = part;
            }
            hasher.update(&plain);
            out.write_all(&plain).map_err(|source| RepositoryError::Write { source })?;
        }
        if ContentHash(*hasher.finalize().as_bytes()) == first.file_hash {
            Ok(Some(first.file_bytes))
        } else {
            Err(unavailable("its parts do not make up the file"))
        }
    }

    /// Of the attempts at a part the first that is whole. `None` when there is none at all.
    pub(super) fn fetch_part(
        &self,
        file: &ArchivedFile,
        number: u32,
    ) -> Result<Option<(WalHead, Vec<u8>)>, RepositoryError> {
        let mut failures: Vec<RepositoryError> = Vec::new();
        for attempt in 0..ATTEMPT_LIMIT {
            let name = names::log_object(self.identity.wal_id(&file.part(number, attempt)))?;
            let fetched = self.verified_object(&name).and_then(|(signed, stored)| {
                let plain = self.open_log_object(&name, &signed.head, &stored)?;
                Ok((signed.head, plain))
            });
            match fetched {
                Ok(part) => return Ok(Some(part)),
                Err(RepositoryError::Store(StoreError::NotFound { .. })) => break,
                // Perhaps under a key that is gone.
                Err(RepositoryError::DataKey { key, .. })
                    if self.came_too_late(&self.state, key, &self.origin.stat(&name)?)? => {}
                Err(error @ RepositoryError::DataKey { .. }) => failures.push(error),
                Err(error) if error.is_of_content() => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        match failures.len() {
            0 => Ok(None),
            // Where there is one attempt only, its own error tells most: that of a key above all.
            1 if matches!(failures[0], RepositoryError::DataKey { .. }) => Err(failures.remove(0)),
            _ => {
                let reasons: Vec<_> = failures.iter().map(|error| describe(error)).collect();
                Err(RepositoryError::LogFileUnavailable {
                    file: file.to_string(),
                    reasons: reasons.join("; "),
                })
            }
        }
    }
}
