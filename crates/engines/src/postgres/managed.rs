//! Servers that somebody else runs, and whose files nobody reaches.

use std::fmt;

use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use super::session::Session;
use super::{Programs, Target};

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon RDS, or Aurora.
    Rds,
    /// Google Cloud SQL.
    CloudSql,
    /// Azure Database for PostgreSQL.
    Azure,
}

/// The roles that each service makes for those who use it.
const ROLES: [(&str, Service); 3] = [
    ("rds_superuser", Service::Rds),
    ("cloudsqlsuperuser", Service::CloudSql),
    ("azure_pg_admin", Service::Azure),
];

const THEIR_ROLES: &str = "SELECT to_json(rolname) FROM pg_catalog.pg_roles
    WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')";

impl Service {
    /// By the name of a host, or the folder of its socket.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_in = |zone: &str| host.ends_with(zone);
        if is_in(".rds.amazonaws.com") || is_in(".rds.amazonaws.com.cn") {
            Some(Self::Rds)
        } else if is_in(".sql.goog") || host.starts_with("/cloudsql/") {
            Some(Self::CloudSql)
        } else if is_in(".postgres.database.azure.com") || is_in(".postgres.database.chinacloudapi.cn") {
            Some(Self::Azure)
        } else {
            None
        }
    }

    /// By the roles of a server that can be reached.
    ///
    /// # Errors
    /// `NoProgram`, `Start`, `Failed` with what it said, `Answer`.
    pub fn of_server(
        programs: &Programs,
        target: &Target,
        monitor: &dyn Monitor,
    ) -> Result<Option<Self>, PostgresError> {
        let roles: Vec<String> = Session::open(programs, target, None, monitor)?.ask_json(THEIR_ROLES)?;
        Ok(ROLES
            .iter()
            .find(|(role, _)| roles.iter().any(|there| there == role))
            .map(|(_, service)| *service))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rds => "Amazon RDS or Aurora",
            Self::CloudSql => "Google Cloud SQL",
            Self::Azure => "Azure Database for PostgreSQL",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_whose_they_are() {
        for (host, service) in [
            ("shop.abc.eu-central-1.RDS.amazonaws.com", Some(Service::Rds)),
            ("shop.cluster-abc.eu-central-1.rds.amazonaws.com.", Some(Service::Rds)),
            ("/cloudsql/project:region:shop", Some(Service::CloudSql)),
            ("shop.postgres.database.azure.com", Some(Service::Azure)),
            ("rds.amazonaws.com.example.org", None),
            ("db1", None),
        ] {
            assert_eq!(Service::of_host(host), service, "{host}");
        }
    }
}
