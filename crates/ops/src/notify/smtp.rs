//! By mail (RFC 5321), with TLS unless the URL says `?tls=none`.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{SmtpTransport, Transport as _};
use strongroom_engines::http::percent_decoded;

use super::NotifyError;
use super::channel::Mail;
use super::letter::Letter;

/// How long the server may think.
const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn send(mail: &Mail, sent: &Letter) -> Result<(), NotifyError> {
    let url = with_tls(&mail.server.resolve()?);
    let mut transport = SmtpTransport::from_url(&url).map_err(NotifyError::SmtpUrl)?.timeout(Some(PATIENCE));
    if let Some(password) = &mail.password {
        transport = transport.credentials(Credentials::new(user_of(&url), password.resolve()?));
    }
    let mut letter = lettre::Message::builder()
        .from(address(&mail.from)?)
        .subject(sent.subject.clone())
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        letter = letter.to(address(to)?);
    }
    let letter = letter.body(sent.text.clone())?;
    let transport = transport.build();
    for attempt in 1.. {
        match transport.send(&letter) {
            Ok(_) => break,
            // What it says for good it says the next time, too.
            Err(error) if attempt == ATTEMPTS || error.is_permanent() => {
                return Err(NotifyError::Smtp(error));
            }
            Err(_) => std::thread::sleep(PAUSE * attempt),
        }
    }
    Ok(())
}

/// That its server can be one.
pub(super) fn check_server(mail: &Mail) -> Result<(), NotifyError> {
    let url = with_tls(&mail.server.resolve()?);
    SmtpTransport::from_url(&url).map(drop).map_err(NotifyError::SmtpUrl)
}

/// That it can be an address.
pub(super) fn check_address(text: &str) -> Result<(), NotifyError> {
    address(text).map(drop)
}

/// No password, and nothing of what was found, goes over a line in the clear unless somebody says so.
fn with_tls(url: &str) -> String {
    match url.strip_suffix("?tls=none") {
        Some(plain) => plain.to_owned(),
        None if url.starts_with("smtp://") && !url.contains("tls=") => format!("{url}?tls=required"),
        None => url.to_owned(),
    }
}

/// `smtp://USER@HOST`
fn user_of(url: &str) -> String {
    let authority = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let user =
        authority.split('/').next().and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    let name = user.unwrap_or_default().split(':').next().unwrap_or_default();
    percent_decoded(name).unwrap_or_else(|| name.to_owned())
}

fn address(text: &str) -> Result<Mailbox, NotifyError> {
    text.parse().map_err(|source| NotifyError::MailAddress { address: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_goes_without_tls() {
        assert_eq!(with_tls("smtp://me@h:587"), "smtp://me@h:587?tls=required");
        assert_eq!(with_tls("smtp://h:25?tls=none"), "smtp://h:25");
        assert_eq!(with_tls("smtp://h?tls=opportunistic"), "smtp://h?tls=opportunistic");
        assert_eq!(with_tls("smtps://h"), "smtps://h");
        assert_eq!(user_of("smtp://me%40shop:pw@h:587/ehlo"), "me@shop");
        assert_eq!(user_of("smtp://h:587"), "");
    }
}
