//! Whom to tell, and of what.

use std::time::Duration;

use serde::Deserialize;

use super::{NotifyError, smtp, webhook};
use crate::config::Text;
use crate::status::{Finding, Severity};

/// After how long a finding is told once more, where the configuration does not say it.
const REPEAT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// One of `[notify.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Where.
    pub address: Address,
    /// Nothing that is less.
    pub min_severity: Severity,
    /// After how long a finding that is still there is told once more.
    pub repeat_every: Duration,
    /// After how long it is told that something goes on; `None` where it is not.
    pub progress_after: Option<Duration>,
    /// In which line of the configuration each field stands.
    pub lines: Vec<(String, usize)>,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// By mail.
    Smtp(Mail),
    /// Slack's incoming webhook.
    Slack(Text),
    /// A POST of JSON.
    Webhook {
        /// Where to.
        url: Text,
        /// The value of that header.
        authorization: Option<Text>,
    },
}

/// A mail server, and whom to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `smtps://HOST`, or `smtp://HOST:587`, which takes TLS by STARTTLS unless it ends in `?tls=none`.
    pub server: Text,
    /// Of the user that the URL names.
    pub password: Option<Text>,
    /// Who writes.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// As the configuration has it.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fields {
    smtp: Option<String>,
    password: Option<String>,
    from: Option<String>,
    to: Vec<String>,
    slack: Option<String>,
    webhook: Option<String>,
    authorization: Option<String>,
    min_severity: Option<Severity>,
    #[serde(deserialize_with = "crate::config::duration")]
    #[schemars(with = "crate::config::Span")]
    repeat_every: Option<Duration>,
    /// After how long it is told how far something is that a run does.
    #[serde(deserialize_with = "crate::config::duration")]
    #[schemars(with = "crate::config::Span")]
    progress_after: Option<Duration>,
}

impl Channel {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(fields: Fields, lines: Vec<(String, usize)>) -> Result<Self, &'static str> {
        let text = |text: Option<String>| text.as_deref().map(Text::parse);
        let address = match (fields.smtp, fields.slack, fields.webhook) {
            (Some(server), None, None) => Address::Smtp(Mail {
                server: Text::parse(&server),
                password: text(fields.password),
                from: fields.from.ok_or("a mail has a sender: `from`")?,
                to: match fields.to.is_empty() {
                    true => return Err("a mail goes to somebody: `to`"),
                    false => fields.to,
                },
            }),
            (None, Some(url), None) => Address::Slack(Text::parse(&url)),
            (None, None, Some(url)) => {
                Address::Webhook { url: Text::parse(&url), authorization: text(fields.authorization) }
            }
            _ => return Err("one of `smtp`, `slack` and `webhook` says where to"),
        };
        let min_severity = fields.min_severity.unwrap_or(Severity::Warning);
        let repeat_every = fields.repeat_every.unwrap_or(REPEAT_EVERY);
        Ok(Self { address, min_severity, repeat_every, progress_after: fields.progress_after, lines })
    }

    /// What would keep it from being told anything, by its fields, as far as that shows before anybody is asked.
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, NotifyError)> {
        let mut wrong = Vec::new();
        let mut look = |field: &'static str, looked: Result<(), NotifyError>| {
            wrong.extend(looked.err().map(|error| (field, error)));
        };
        let is_there = |text: &Text| text.resolve().map(drop).map_err(NotifyError::from);
        match &self.address {
            Address::Smtp(mail) => {
                look("smtp", smtp::check_server(mail));
                look("password", mail.password.as_ref().map_or(Ok(()), is_there));
                look("from", smtp::check_address(&mail.from));
                for to in &mail.to {
                    look("to", smtp::check_address(to));
                }
            }
            Address::Slack(url) => look("slack", webhook::check(url)),
            Address::Webhook { url, authorization } => {
                look("webhook", webhook::check(url));
                look("authorization", authorization.as_ref().map_or(Ok(()), is_there));
            }
        }
        wrong
    }

    /// Whether it is told of this.
    #[must_use]
    pub fn wants(&self, finding: &Finding) -> bool {
        finding.severity >= self.min_severity
    }
}
