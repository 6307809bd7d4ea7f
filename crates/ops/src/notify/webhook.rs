//! A POST of JSON.

use std::time::Duration;

use serde_json::Value;
use strongroom_engines::http::{Http, HttpError, HttpTarget, Question};
use ureq::SendBody;

use super::NotifyError;
use crate::config::Text;

const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn send(url: &str, authorization: Option<&str>, body: &Value) -> Result<(), HttpError> {
    // Its path and parameters may be secret, and are in no message.
    let (base, path, query) = parts(url);
    let port = if base.starts_with("https") { 443 } else { 80 };
    let http = Http::new(&HttpTarget::parse(base, port)?, PATIENCE)?;
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.map(|value| ("authorization", value)));
    let query: Vec<(&str, &str)> = query
        .split('&')
        .filter(|one| !one.is_empty())
        .map(|one| one.split_once('=').unwrap_or((one, "")))
        .collect();
    let question = Question { method: "POST", path, query: &query, headers: &headers };
    let text = body.to_string();
    for attempt in 1.. {
        match http.send(question, SendBody::from_reader(&mut text.as_bytes())) {
            Ok(_) => break,
            Err(error) if attempt == ATTEMPTS || !error.is_passing() => return Err(error.without_path()),
            Err(_) => std::thread::sleep(PAUSE * attempt),
        }
    }
    Ok(())
}

/// That a URL can be one.
pub(super) fn check(url: &Text) -> Result<(), NotifyError> {
    let url = url.resolve()?;
    if !url.contains("://") {
        return Err(HttpError::Url { why: "it begins with http:// or https://" }.into());
    }
    HttpTarget::parse(parts(&url).0, 443)?;
    Ok(())
}

/// `https://HOST`, `/PATH`, and the parameters.
fn parts(url: &str) -> (&str, &str, &str) {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let begin = url.find("://").map_or(0, |at| at + 3);
    let at = url[begin..].find('/').map_or(url.len(), |slash| begin + slash);
    (&url[..at], if at < url.len() { &url[at..] } else { "/" }, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        assert_eq!(parts("https://h:8/services/T/B?x=1&y"), ("https://h:8", "/services/T/B", "x=1&y"));
        assert_eq!(parts("https://h"), ("https://h", "/", ""));
    }
}
