//! A session of SQL: `psql`, told one statement after another. It reaches a server however libpq does.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command};

use strongroom_repository::monitor::Monitor;

use super::error::PostgresError;
use super::process::{Process, output_of};
use super::{Programs, Target};

/// Behind the answer to each statement.
const END_OF_ANSWER: &str = "-- strongroom: that was the answer --";

/// A connection to one database; dropped, it is closed.
pub(super) struct Session<'m> {
    process: Option<Process>,
    stdin: ChildStdin,
    answers: BufReader<Box<dyn Read + 'm>>,
    monitor: &'m dyn Monitor,
}

impl<'m> Session<'m> {
    /// Connects to a database; to that of the connection string for none.
    ///
    /// # Errors
    /// `NoProgram`, `Start`. A server that refuses says so to the first statement.
    pub(super) fn open(
        programs: &Programs,
        target: &Target,
        database: Option<&str>,
        monitor: &'m dyn Monitor,
    ) -> Result<Self, PostgresError> {
        let mut command = Command::new(programs.find("psql", None)?);
        target.connect(&mut command, database);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        let name = database.map_or_else(|| "psql".into(), |database| format!("psql in {database}"));
        let (process, stdin, stdout) = Process::talking(name, &mut command)?;
        let answers = BufReader::new(Box::new(output_of(stdout, monitor)) as Box<dyn Read + 'm>);
        Ok(Self { process: Some(process), stdin, answers, monitor })
    }

    /// The server's clock, ms since 1970.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn clock_ms(&mut self) -> Result<i64, PostgresError> {
        let said = self.ask_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")?;
        said.parse().map_err(|_| PostgresError::Answer { what: format!("its clock says {said:?}") })
    }

    /// The lines that a statement gives, with `|` between columns. It is a single one, and has no semicolon.
    ///
    /// # Errors
    /// `Failed` with what the server said, after which the session is closed; `Start` when nothing can be read.
    pub(super) fn ask(&mut self, statement: &str) -> Result<Vec<String>, PostgresError> {
        let asked =
            write!(self.stdin, "{statement};\n\\echo {END_OF_ANSWER}\n").and_then(|()| self.stdin.flush());
        if asked.is_err() {
            return Err(self.why_it_ended());
        }
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let read = self.answers.read_until(b'\n', &mut line);
            if read.map_err(|source| PostgresError::Start { program: "psql".into(), source })? == 0 {
                return Err(self.why_it_ended());
            }
            let text = std::str::from_utf8(&line);
            let text = text.map_err(|_| PostgresError::Answer { what: "it is not UTF-8".into() })?;
            let text = text.strip_suffix('\n').unwrap_or(text);
            if text == END_OF_ANSWER {
                return Ok(lines);
            }
            lines.push(text.to_owned());
        }
    }

    /// The only line that a statement gives.
    ///
    /// # Errors
    /// As [`Session::ask`]; `Answer` for more or fewer.
    pub(super) fn ask_one(&mut self, statement: &str) -> Result<String, PostgresError> {
        let mut lines = self.ask(statement)?;
        match (lines.pop(), lines.is_empty()) {
            (Some(line), true) => Ok(line),
            _ => Err(PostgresError::Answer { what: format!("to {statement:?} there is not one line") }),
        }
    }

    /// Each line is a JSON object: `SELECT row_to_json(...)`.
    ///
    /// # Errors
    /// As [`Session::ask`]; `Answer`.
    pub(super) fn ask_json<T: serde::de::DeserializeOwned>(
        &mut self,
        statement: &str,
    ) -> Result<Vec<T>, PostgresError> {
        let parse = |line: &String| {
            serde_json::from_str(line)
                .map_err(|error| PostgresError::Answer { what: format!("it says {line:?}: {error}") })
        };
        self.ask(statement)?.iter().map(parse).collect()
    }

    /// The server's major version.
    ///
    /// # Errors
    /// As [`Session::ask`]; `Answer`.
    pub(super) fn server_major(&mut self) -> Result<u32, PostgresError> {
        let said = self.ask_one("SHOW server_version_num")?;
        let number: Result<u32, _> = said.trim().parse();
        number
            .map(|number| number / 10_000)
            .map_err(|_| PostgresError::Answer { what: format!("its version is {said:?}") })
    }

    fn why_it_ended(&mut self) -> PostgresError {
        let ended = self.process.take().map(|process| process.finish(self.monitor));
        match ended {
            Some(Err(error)) => error,
            _ => PostgresError::Answer { what: "psql ended without an answer".into() },
        }
    }
}

/// An identifier as SQL quotes it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL quotes it, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_one_word() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'"), " E'\\\\'''");
    }
}
