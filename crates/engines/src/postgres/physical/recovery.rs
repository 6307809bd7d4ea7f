//! How far a restored cluster recovers, as its server reads it when it starts
//! (<https://www.postgresql.org/docs/current/runtime-config-wal.html#RUNTIME-CONFIG-WAL-RECOVERY-TARGET>).

use std::fmt;

use super::super::error::PostgresError;
use super::facts::Facts;
use super::label::{lsn, parse_lsn};

/// Recovery from a log archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What the server runs for each file of the log: `%f` is its name, `%p` where it goes.
    pub restore_command: String,
    /// How far.
    pub until: Until,
    /// Before the target, and not with it.
    pub is_exclusive: bool,
    /// `latest`, `current`, or a number.
    pub timeline: String,
    /// What then: `promote`, `pause`, `shutdown`.
    pub action: String,
}

/// Where recovery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// At the end of the archive.
    Latest,
    /// As soon as the cluster is consistent.
    Immediate,
    /// At a moment.
    Time {
        /// ms since 1970.
        time_ms: i64,
        /// As PostgreSQL reads it, with its time zone.
        text: String,
    },
    /// At a position in the log.
    Lsn(String),
    /// At a restore point (`pg_create_restore_point`).
    Name(String),
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("to the end of the log archive"),
            Self::Immediate => f.write_str("until it is consistent"),
            Self::Time { text, .. } => write!(f, "to {text}"),
            Self::Lsn(position) => write!(f, "to {position}"),
            Self::Name(name) => write!(f, "to the restore point {name}"),
        }
    }
}

impl Recovery {
    /// Whether it is to end before it could: a cluster is none before the end of its backup.
    ///
    /// # Errors
    /// `Unreachable`.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), PostgresError> {
        let early = |what: String, end: String| PostgresError::Unreachable { what, end };
        match &self.until {
            Until::Time { time_ms, text } if *time_ms < facts.stopped_ms => {
                let seconds = (facts.stopped_ms - time_ms + 999) / 1000;
                Err(early(text.clone(), format!("{seconds} s later")))
            }
            Until::Lsn(position) => {
                let wrong = PostgresError::Target { text: position.clone(), why: "write it as 16/B374D848" };
                let wanted = parse_lsn(position).ok_or(wrong)?;
                match parse_lsn(&facts.stop_lsn).filter(|stop| wanted < *stop) {
                    Some(stop) => {
                        Err(early(format!("position {}", lsn(wanted)), format!("at {}", lsn(stop))))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// `postgresql.auto.conf` with all that recovery is told: what it was told before, somewhere else, goes.
    pub(super) fn amend(&self, configuration: &str) -> String {
        let inclusive = if self.is_exclusive { "off" } else { "on" };
        let mut settings = vec![
            ("restore_command", &*self.restore_command),
            ("recovery_target_timeline", &*self.timeline),
            ("recovery_target_action", &*self.action),
            ("recovery_target_inclusive", inclusive),
        ];
        settings.extend(match &self.until {
            Until::Latest => None,
            Until::Immediate => Some(("recovery_target", "immediate")),
            Until::Time { text, .. } => Some(("recovery_target_time", &**text)),
            Until::Lsn(position) => Some(("recovery_target_lsn", &**position)),
            Until::Name(name) => Some(("recovery_target_name", &**name)),
        });
        let is_of_recovery = |line: &str| {
            line.starts_with("recovery_target") || line.starts_with("restore_command") || line == ADDED
        };
        let mut text = String::new();
        for line in configuration.lines().filter(|line| !is_of_recovery(line)) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(ADDED);
        text.push('\n');
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''")));
        }
        text
    }
}

const ADDED: &str = "# Added by strongroom restore";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_is_set_and_what_was_set_before_is_not() {
        let recovery = Recovery {
            restore_command: "'/usr/bin/strongroom' wal-get %f %p".into(),
            until: Until::Name("before it's gone".into()),
            is_exclusive: false,
            timeline: "latest".into(),
            action: "promote".into(),
        };
        let before = "work_mem = '8MB'\nrecovery_target_time = '2024-01-01'\nrestore_command = 'x'\n";
        let text = recovery.amend(before);
        for line in [
            "work_mem = '8MB'",
            "recovery_target_name = 'before it''s gone'",
            "restore_command = '''/usr/bin/strongroom'' wal-get %f %p'",
        ] {
            assert!(text.lines().any(|one| one == line), "{text}");
        }
        assert!(!text.contains("2024") && !text.contains("'x'"), "{text}");
        assert_eq!(recovery.amend(&text), text);
    }
}
