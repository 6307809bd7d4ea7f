//! What to do next when ClickHouse refused.

use strongroom_engines::EngineError;
use strongroom_engines::clickhouse::ClickHouseError;
use strongroom_engines::http::HttpError;

/// By what servers of all versions say.
const HINTS: [(&str, &str); 14] = [
    ("Code: 192", "give the right user, in CLICKHOUSE_USER or in the URL"),
    ("Code: 193", LOGIN),
    ("Code: 194", LOGIN),
    ("Code: 516", LOGIN),
    (
        "Code: 497",
        "grant the user what it lacks: docs/engines/clickhouse.md lists what a backup and a restore need",
    ),
    ("Code: 164", "the user may not change settings: give it a profile with readonly = 2, or none"),
    ("Code: 60", "a table may have been dropped or renamed meanwhile: run it again"),
    ("Code: 81", "a database may have been dropped meanwhile: run it again"),
    ("Code: 47", "a column may have been dropped or renamed meanwhile: run it again"),
    ("Code: 159", "raise max_execution_time in the profile of the user"),
    (
        "Code: 241",
        "give the user's profile more max_memory_usage, or read fewer partitions at once (--jobs 1)",
    ),
    ("Code: 243", "free some space on the server's disk"),
    (
        "Code: 253",
        "another replica lies at that path already: restore under the old name on a server of its own, or change the path",
    ),
    ("Code: 36", "the server says what does not fit; --schema-only restores what makes the tables alone"),
];

const LOGIN: &str = "give the right password, in CLICKHOUSE_PASSWORD or in the URL";

pub(crate) fn hint(error: &ClickHouseError) -> Option<&'static str> {
    if let Some(said) = error.said() {
        let is_said = |code: &str| {
            let behind = said.find(code).and_then(|at| said.get(at + code.len()..));
            behind.is_some_and(|behind| !behind.starts_with(|next: char| next.is_ascii_digit()))
        };
        return HINTS.iter().find(|(code, _)| is_said(code)).map(|(_, hint)| *hint);
    }
    match error {
        ClickHouseError::Server { source: HttpError::Unreachable { .. }, .. } => Some(
            "is the server up, and are scheme, host and port those of its HTTP interface (8123, with TLS 8443)? --ca-file names certificates to believe",
        ),
        ClickHouseError::Server { source: HttpError::Broken { .. }, .. }
        | ClickHouseError::NotWhole { .. } => Some("run it again when the server is well"),
        ClickHouseError::InTheWay { .. } => Some(
            "--drop-existing drops it first; --into and --rename restore under other names; --partition restores parts of it",
        ),
        ClickHouseError::Hidden { .. } => Some(
            "give the user a policy that shows all rows (CREATE ROW POLICY ... USING 1 TO user), or back up as one who has none",
        ),
        ClickHouseError::Older { .. } => Some(
            "restore into a server of that version or a newer one; `restore --target DIR` writes SQL and Native files for any",
        ),
        ClickHouseError::Partial { source, .. } => match source.as_ref() {
            EngineError::ClickHouse(inner) => hint(inner),
            _ => None,
        },
        _ => None,
    }
}
