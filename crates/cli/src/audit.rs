//! What is left in the audit trail of what is done, and by whom.
//!
//! The order is the promise: what reads stored data is noted *before* it reads, so that a read that is killed, or hides how it ended,
//! shows. A host that may not write still restores, and says that nothing tells of it; `--require-audit` makes that a refusal.

use std::sync::PoisonError;

use anyhow::Context as _;
use serde_json::{Value, json};
use strongroom_format::SnapshotId;
use strongroom_keys::random::{OsRandom, Random as _};
use strongroom_ops::audit::{COMMAND, redact};
use strongroom_repository::Repository;
use strongroom_repository::monitor::Monitor as _;

use crate::context::{Context, host_name, user_name};
use crate::exit;

/// What is under way.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// As its notes name it.
    id: String,
    /// Whether the audit trail knows that it began.
    is_noted: bool,
}

/// Something that reads stored data.
pub(crate) struct Reading {
    /// `restore`: it begins as `restore-began`, and ends as `restore` or `restore-failed`.
    pub(crate) event: &'static str,
    /// Of what.
    pub(crate) snapshot: Option<SnapshotId>,
    /// What of it, and where to. No secrets.
    pub(crate) detail: Value,
}

/// Adds who acts, as this host says it.
pub(crate) fn sign(detail: &mut Value) {
    let Some(fields) = detail.as_object_mut() else { return };
    fields.entry("host").or_insert_with(|| host_name().into());
    fields.entry("user").or_insert_with(|| user_name().into());
    if let Some(user) = std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty()) {
        fields.entry("sudo_user").or_insert_with(|| user.into());
    }
}

impl Context<'_> {
    /// Reads stored data, between a note that it begins and, where it fails, one that says why; how it ended well it notes itself.
    ///
    /// # Errors
    /// As `work` does; that the note could not be written, where that is required.
    pub(crate) fn audited<T>(
        &self,
        repository: &mut Repository,
        reading: Reading,
        work: impl FnOnce(&mut Repository) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Reading { event, snapshot, detail } = reading;
        let mut id = [0; 8];
        OsRandom.fill(&mut id)?;
        self.set_operation(Some(Operation { id: hex::encode(id), is_noted: true }));
        let began = self.write_note(repository, &format!("{event}-began"), snapshot, detail);
        if let Err(error) = began {
            if self.global.require_audit {
                return Err(error).with_context(|| {
                    format!("this {event} cannot be noted in the audit trail, which is required (--require-audit); nothing was read")
                });
            }
            self.terminal
                .warn(&format!("the audit trail lacks this {event}: it could not be noted: {error:#}"));
            self.set_operation(Some(Operation { id: hex::encode(id), is_noted: false }));
        }
        let done = work(repository);
        if let Err(error) = &done {
            let (what, code) = exit::told(error);
            let cause = exit::cause(error);
            self.note(
                repository,
                &format!("{event}-failed"),
                snapshot,
                &json!({ "error": what, "cause": cause, "exit_code": code }),
            );
        }
        self.set_operation(None);
        done
    }

    /// Changes the repository, and notes who did, well or not: the entries that it makes are signed, and know no user.
    ///
    /// # Errors
    /// As `work` does.
    pub(crate) fn performed<T>(
        &self,
        repository: &mut Repository,
        (command, action): (&str, Option<&str>),
        mut detail: Value,
        work: impl FnOnce(&mut Repository) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let done = work(repository);
        detail["command"] = command.into();
        if let Some(action) = action {
            detail["action"] = action.into();
        }
        if let Err(error) = &done {
            detail["result"] = "failed".into();
            detail["error"] = exit::told(error).0.into();
            detail["cause"] = json!(exit::cause(error));
        }
        self.note(repository, COMMAND, None, &detail);
        done
    }

    /// Leaves a note for the audit trail; a host that may not write says that its work left none, once.
    pub(crate) fn note(
        &self,
        repository: &mut Repository,
        event: &str,
        snapshot: Option<SnapshotId>,
        detail: &Value,
    ) {
        // That it could not be noted was said when it began.
        if self.operation().is_some_and(|operation| !operation.is_noted) {
            return;
        }
        if let Err(error) = self.write_note(repository, event, snapshot, detail.clone()) {
            self.terminal
                .warn(&format!("the audit trail lacks this {event}: it could not be noted: {error:#}"));
        }
    }

    fn operation(&self) -> Option<Operation> {
        self.operation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_operation(&self, operation: Option<Operation>) {
        *self.operation.lock().unwrap_or_else(PoisonError::into_inner) = operation;
    }

    /// The same for who has to know whether it was noted.
    pub(crate) fn write_note(
        &self,
        repository: &mut Repository,
        event: &str,
        snapshot: Option<SnapshotId>,
        mut detail: Value,
    ) -> anyhow::Result<()> {
        sign(&mut detail);
        redact(&mut detail);
        if let (Some(operation), Some(fields)) = (self.operation(), detail.as_object_mut()) {
            fields.insert("operation".into(), operation.id.into());
        }
        repository.note(event, snapshot, &detail.to_string())?;
        Ok(())
    }
}

/// Where data goes, without what opens it: `postgres://me@db/shop`.
pub(crate) fn place(url: &str) -> String {
    if let Some((scheme, rest)) = url.split_once("://") {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let authority = match authority.rsplit_once('@') {
            Some((user, hosts)) => format!("{}@{hosts}", user.split(':').next().unwrap_or_default()),
            None => authority.to_owned(),
        };
        return format!("{scheme}://{authority}{path}");
    }
    // A connection string of PostgreSQL's; a value with quotes may hold anything.
    let named = ["host", "hostaddr", "port", "dbname", "user", "service"];
    let words = url.split_whitespace().filter(|word| {
        word.split_once('=')
            .is_some_and(|(name, value)| named.contains(&name) && !value.contains(['\'', '\\']))
    });
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "a server".into() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_data_goes_is_told_and_no_password() {
        for (url, told) in [
            ("postgres://me:s3cret@db:5432/shop?password=s3cret", "postgres://me@db:5432/shop"),
            ("redis://:s3cret@cache:6379/0", "redis://@cache:6379/0"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("https://me:a@b:s3cret@host#s3cret", "https://me@host"),
            ("host=db user=me password=s3cret dbname=shop", "host=db user=me dbname=shop"),
            ("password='s3cret host=x' host=db", "host=db"),
            ("shop", "a server"),
        ] {
            assert_eq!(place(url), told);
        }
    }

    #[test]
    fn who_acts_is_added_and_nothing_that_is_known() {
        let mut detail = json!({ "host": "db1" });
        sign(&mut detail);
        assert_eq!(detail["host"], "db1");
        assert!(detail["user"].as_str().is_some_and(|user| !user.is_empty()));
    }
}
