//! Telling people what was found: by mail, in Slack, to a webhook. Each finding once, again after a time, and when it is gone. And how
//! far something is that takes long ([`Progress`]).
//!
//! What was told stands in the journal, so that it is told once by whatever host looks.

mod channel;
mod letter;
mod message;
mod progress;
mod sent;
mod smtp;
mod webhook;

use jiff::Timestamp;

pub(crate) use self::channel::Fields;
pub use self::channel::{Address, Channel};
pub use self::letter::Letter;
pub use self::message::Message;
pub use self::progress::{Figures, Milestones, Progress, figures_of};
pub use self::sent::{SENT, Sent};
use crate::config::ReferenceError;
use crate::status::Finding;

/// Why somebody was not told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A secret is not to be had.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The server of mails cannot be what it is said to be.
    #[error("the mail server's URL is not understood")]
    SmtpUrl(#[source] lettre::transport::smtp::Error),
    /// An address is none.
    #[error("`{address}` is no address of a mail")]
    MailAddress {
        /// As it is written.
        address: String,
        /// Why.
        source: lettre::address::AddressError,
    },
    /// The mail cannot be written.
    #[error("the mail cannot be written")]
    Mail(#[from] lettre::error::Error),
    /// The mail server did not take it.
    #[error("the mail server did not take the mail")]
    Smtp(#[source] lettre::transport::smtp::Error),
    /// A webhook did not take it.
    #[error(transparent)]
    Http(#[from] strongroom_engines::http::HttpError),
}

/// Tells one channel what it is to know now. What it was told is noted in `sent`; gives whether there was anything.
///
/// # Errors
/// Why it was not told; `sent` is as before then.
pub fn tell(
    name: &str,
    channel: &Channel,
    findings: &[Finding],
    repository: &str,
    sent: &mut Sent,
    now: Timestamp,
) -> Result<bool, NotifyError> {
    let message = sent.message(name, channel, findings, repository, now);
    if message.is_empty() {
        return Ok(false);
    }
    message.letter().send(&channel.address)?;
    sent.told(name, findings, channel, now);
    Ok(true)
}
