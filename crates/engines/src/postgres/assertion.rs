//! What a restored database is asked.

use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use super::session::Session;
use crate::engine::EngineError;

/// A query that gives true, in the first column of one row or more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assertion {
    /// What people call it.
    pub name: Option<String>,
    /// It: one statement.
    pub sql: String,
    /// Only of this database of the snapshot.
    pub database: Option<String>,
}

impl Assertion {
    /// Whether this database is asked.
    pub(crate) fn is_for(&self, database: &str) -> bool {
        self.database.as_deref().is_none_or(|own| own == database)
    }

    /// Why it does not hold, if it does not.
    ///
    /// # Errors
    /// As [`Session::ask`], where that is not for what it says.
    pub(super) fn fails(
        &self,
        session: &mut Session<'_>,
        monitor: &dyn Monitor,
    ) -> Result<Option<String>, EngineError> {
        let said = match session.ask(&self.sql) {
            Ok(lines)
                if !lines.is_empty() && lines.iter().all(|line| line.split('|').next() == Some("t")) =>
            {
                return Ok(None);
            }
            Ok(lines) if lines.is_empty() => "nothing".into(),
            Ok(lines) => lines.join(", "),
            Err(error @ PostgresError::Failed { .. })
                if !monitor.is_cancelled() && !error.is_of_surroundings() =>
            {
                error.to_string()
            }
            Err(error) => return Err(error.into()),
        };
        let name = self.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        Ok(Some(format!("{name}the assertion {:?} gave {said}", self.sql)))
    }
}
