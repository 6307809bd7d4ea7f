//! What is sent, whatever it is about: as a mail, in Slack, or as JSON.

use serde_json::{Value, json};

use super::channel::Address;
use super::{NotifyError, smtp, webhook};
use crate::config::Text;

/// Something to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// All of it, for people.
    pub text: String,
    /// The same for programs.
    pub json: Value,
}

impl Letter {
    /// Sends it, and tries again what fails in passing: that may take a minute and a half.
    ///
    /// # Errors
    /// Why it did not get there.
    pub fn send(&self, address: &Address) -> Result<(), NotifyError> {
        match address {
            Address::Smtp(mail) => smtp::send(mail, self)?,
            Address::Slack(url) => webhook::send(&url.resolve()?, None, &self.to_slack())?,
            Address::Webhook { url, authorization } => {
                let authorization = authorization.as_ref().map(Text::resolve).transpose()?;
                webhook::send(&url.resolve()?, authorization.as_deref(), &self.json)?;
            }
        }
        Ok(())
    }

    fn to_slack(&self) -> Value {
        // https://api.slack.com/reference/surfaces/formatting#escaping
        let text = format!("*{}*\n```{}```", self.subject, self.text);
        json!({ "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
    }
}

/// Of what is said in a line.
pub(super) fn subject(what: &str) -> String {
    // A subject is one line.
    format!("[strongroom] {}", what.replace(|c: char| c.is_control(), " "))
}
