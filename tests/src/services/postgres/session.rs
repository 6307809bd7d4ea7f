//! A session that stays open between statements, to hold a lock; and waiting for what others do.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Postgres;
use crate::patience::PATIENCE;

/// Of one client; dropped, it is closed, and what it held is free again.
#[derive(Debug)]
pub struct Session {
    client: Child,
    stdin: Option<ChildStdin>,
}

impl Postgres {
    /// Opens one.
    ///
    /// # Errors
    /// When psql cannot be run.
    pub fn open_session(&self, database: &str) -> Result<Session> {
        let mut psql = self.client("psql");
        psql.args(["--no-psqlrc", "--quiet", "--dbname", database]).env("PGAPPNAME", "other");
        let mut client =
            psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot run psql")?;
        let stdin = client.stdin.take();
        Ok(Session { client, stdin })
    }

    /// Opens one that does this in a transaction, and holds until it is dropped what that takes.
    ///
    /// # Errors
    /// When it does not get it.
    pub fn hold(&self, database: &str, sql: &str) -> Result<Session> {
        let mut session = self.open_session(database)?;
        session.say(&format!("BEGIN; {sql}"))?;
        self.wait_for_sessions("application_name = 'other' AND state = 'idle in transaction'", 1)?;
        Ok(session)
    }

    /// Makes a role that has to give a password, and restarts the server.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn add_role_with_password(&mut self, role: &str, password: &str) -> Result<()> {
        self.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"))?;
        let mut written = Ok(());
        self.restart(|data| {
            let access = data.join("pg_hba.conf");
            written = std::fs::read_to_string(&access).and_then(|others| {
                std::fs::write(&access, format!("host all {role} all scram-sha-256\n{others}"))
            });
        })?;
        written.context("cannot write pg_hba.conf")
    }

    /// Sessions of which this holds, as `pg_stat_activity` tells them.
    ///
    /// # Errors
    /// As [`Postgres::psql`].
    pub fn sessions_that(&self, condition: &str) -> Result<u32> {
        let sql =
            format!("SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ({condition})");
        self.psql(&sql)?.trim().parse().context("that is no number")
    }

    /// Waits until so many sessions are so.
    ///
    /// # Errors
    /// When they never are.
    pub fn wait_for_sessions(&self, condition: &str, wanted: u32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.sessions_that(condition)? != wanted {
            ensure!(Instant::now() < deadline, "there never were {wanted} sessions with {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the sessions of which this holds, and waits until they are gone.
    ///
    /// # Errors
    /// When there are none, or they stay.
    pub fn end_sessions(&self, condition: &str) -> Result<()> {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ({condition})"
        );
        ensure!(self.psql(&sql)? != "0", "there is no session with {condition}");
        Ok(())
    }
}

impl Session {
    /// Has a statement run; when it is through, the server tells.
    ///
    /// # Errors
    /// When psql has ended.
    pub fn say(&mut self, sql: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the session is closed")?;
        writeln!(stdin, "{sql};").and_then(|()| stdin.flush()).context("psql has ended")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It may wait for a lock itself.
        let _ended = self.client.kill();
        let _waited = self.client.wait();
    }
}
