//! Saying what may be deleted of a log archive.

use strongroom_format::FormatError;
use strongroom_format::entry::{ExpireBody, Statement};
use strongroom_format::registry::Roles;

use crate::error::RepositoryError;
use crate::repository::Repository;

impl Repository {
    /// Says which segments of a log archive may be deleted, with what is about them: prune does so when its grace is over.
    /// That is final, and nothing is pushed there any more. Gives the entry's number.
    ///
    /// # Errors
    /// `NoSigner` without the role maintain; `NotForgettable` while an entry is damaged; `Unstorable` for ranges that are
    /// not in order, or too many; `Store`, `Contention`.
    pub fn expire_log(&mut self, body: &ExpireBody) -> Result<u64, RepositoryError> {
        self.require_role(Roles::MAINTAIN, "maintain")?;
        body.check().map_err(|source: FormatError| RepositoryError::Unstorable {
            what: "what is to be expired".into(),
            source,
        })?;
        self.append(|state| {
            state.require_holds_known()?;
            Ok(Statement::Expire(body.clone()))
        })
    }
}
