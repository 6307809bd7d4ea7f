//! A database as text, to be compared.

use anyhow::{Context, Result, ensure};

use super::Postgres;

impl Postgres {
    /// What plain `pg_dump` writes of a database, but for words of chance, with the rows of each table in the order of their
    /// text: where a server puts a row is its own business.
    ///
    /// # Errors
    /// When `pg_dump` fails.
    pub fn text_of(&self, database: &str) -> Result<String> {
        let output = self.pg_dump(&[database]).output().context("cannot run pg_dump")?;
        ensure!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).context("pg_dump wrote no UTF-8")?;
        let (mut lines, mut rows): (Vec<&str>, Option<Vec<&str>>) = (Vec::new(), None);
        for line in text.split('\n') {
            match &mut rows {
                Some(_) if line == "\\." => {
                    let mut done = rows.take().unwrap_or_default();
                    done.sort_unstable();
                    lines.extend(done);
                    lines.push(line);
                }
                Some(rows) => rows.push(line),
                None if line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ") => {}
                None => {
                    lines.push(line);
                    rows = (line.starts_with("COPY ") && line.ends_with(" FROM stdin;")).then(Vec::new);
                }
            }
        }
        Ok(lines.join("\n"))
    }
}
