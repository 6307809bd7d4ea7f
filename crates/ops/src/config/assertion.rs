//! What a restored database is asked.

use serde::Deserialize;

/// A query that must give true.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Fields")]
pub struct Assertion {
    /// What people call it.
    pub name: String,
    /// Of the first column of one row or more.
    pub sql: String,
    /// Only of this database.
    pub database: Option<String>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// What people call it.
    #[schemars(length(min = 1))]
    name: String,
    /// A query that must give true.
    #[schemars(length(min = 1))]
    sql: String,
    /// Only of this database.
    database: Option<String>,
}

impl TryFrom<Fields> for Assertion {
    type Error = &'static str;

    fn try_from(Fields { name, sql, database }: Fields) -> Result<Self, Self::Error> {
        // It is sent as one statement.
        let sql = sql.trim().trim_end_matches(';').to_owned();
        match sql.is_empty() || name.trim().is_empty() {
            true => Err("an assertion has a name, and sql that gives true"),
            false => Ok(Self { name, sql, database }),
        }
    }
}
