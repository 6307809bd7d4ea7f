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
    /// The system gives no thread to tell it.
    #[error("the system gives no thread for it")]
    Thread(#[source] std::io::Error),
    /// A webhook did not take it.
    #[error(transparent)]
    Http(#[from] strongroom_engines::http::HttpError),
}

/// Tells channels what they are to know now, all at the same time: who does not answer keeps nobody waiting but the caller. What they
/// were told is noted in `sent`; gives how it went with each that there was something for.
pub fn tell<'c>(
    channels: &'c [(String, Channel)],
    findings: &[Finding],
    repository: &str,
    sent: &mut Sent,
    now: Timestamp,
) -> Vec<(&'c str, Result<(), NotifyError>)> {
    let letter = |(name, channel): &'c (String, Channel)| {
        let message = sent.message(name, channel, findings, repository, now);
        (!message.is_empty()).then(|| (name.as_str(), channel, message.letter()))
    };
    let letters: Vec<_> = channels.iter().filter_map(letter).collect();
    let told = std::thread::scope(|scope| {
        let send = |(name, channel, letter): (&'c str, &'c Channel, Letter)| {
            let thread = std::thread::Builder::new().name("strongroom-alert".into());
            let sending = thread.spawn_scoped(scope, move || letter.send(&channel.address));
            (name, channel, sending)
        };
        let sending: Vec<_> = letters.into_iter().map(send).collect();
        let ended = sending.into_iter().map(|(name, channel, sending)| {
            let told = sending.map_err(NotifyError::Thread).and_then(|thread| match thread.join() {
                Ok(told) => told,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            (name, channel, told)
        });
        ended.collect::<Vec<_>>()
    });
    let noted = told.into_iter().map(|(name, channel, told)| {
        if told.is_ok() {
            sent.told(name, findings, channel, now);
        }
        (name, told)
    });
    noted.collect()
}
