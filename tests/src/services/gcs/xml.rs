//! The XML dialect for a server that speaks it half: uploads and listings are translated to JSON's, downloads and
//! deletions passed on.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::message::Response;
use crate::http::server::{Exchange, Next, Server};
use crate::http::{Answer, percent_encoded, xml_escaped};

/// Google's own limit.
const MOST_KEYS_A_PAGE: usize = 1000;

pub(super) fn front(server: SocketAddr) -> io::Result<Server> {
    Server::start(Some(server), move |exchange| {
        // It tells the dialects apart by the host.
        exchange.request.headers.set("Host", &server.to_string());
        let path = exchange.request.path();
        let json =
            ["/storage/v1/", "/upload/", "/download/", "/b/"].iter().any(|start| path.starts_with(start));
        let (bucket, object) = match path.trim_start_matches('/').split_once('/') {
            Some((bucket, object)) => (bucket.to_owned(), object.to_owned()),
            None => (path.trim_start_matches('/').to_owned(), String::new()),
        };
        match exchange.request.method.as_str() {
            _ if json => exchange.forward(),
            "PUT" if !object.is_empty() => upload(exchange, &bucket, &object),
            "GET" if object.is_empty() => list(exchange, &bucket),
            _ => exchange.forward(),
        }
    })
}

fn upload(exchange: &mut Exchange<'_>, bucket: &str, object: &str) -> io::Result<Next> {
    let condition = exchange.request.headers.first("x-goog-if-generation-match").map(str::to_owned);
    let (bucket, object) = (percent_encoded(bucket, true), percent_encoded(object, true));
    let mut target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={object}");
    if let Some(generation) = condition {
        target.push_str(&format!("&ifGenerationMatch={generation}"));
    }
    exchange.request.method = "POST".to_owned();
    exchange.request.target = target;
    let answer = exchange.fetch()?;
    let status = answer.head.status;
    if status != 200 {
        return exchange.answer(&refusal(status));
    }
    let said: Value = serde_json::from_slice(&answer.body)?;
    let head = Response::new(200)
        .with("ETag", &format!("\"{}\"", text(&said, "etag")))
        .with("x-goog-generation", &text(&said, "generation"))
        .with("x-goog-metageneration", &text(&said, "metageneration"));
    exchange.answer(&Answer { head, body: Vec::new() })
}

fn list(exchange: &mut Exchange<'_>, bucket: &str) -> io::Result<Next> {
    let asked = |name: &str| exchange.request.parameter(name).unwrap_or_default();
    let limit = asked("max-keys").parse().unwrap_or(MOST_KEYS_A_PAGE).min(MOST_KEYS_A_PAGE);
    let (prefix, delimiter, token) = (asked("prefix"), asked("delimiter"), asked("continuation-token"));
    // The one begins after the name, the other with it.
    let after =
        Some(asked("start-after")).filter(|after| !after.is_empty()).map(|after| format!("{after}\0"));
    let mut target =
        format!("/storage/v1/b/{}/o?maxResults={limit}&projection=noAcl", percent_encoded(bucket, true));
    for (name, value) in [
        ("prefix", &prefix),
        ("delimiter", &delimiter),
        ("pageToken", &token),
        ("startOffset", &after.unwrap_or_default()),
    ] {
        if !value.is_empty() {
            target.push_str(&format!("&{name}={}", percent_encoded(value, true)));
        }
    }
    exchange.request.target = target;
    let answer = exchange.fetch()?;
    if answer.head.status != 200 {
        return exchange.answer(&refusal(answer.head.status));
    }
    let said: Value = serde_json::from_slice(&answer.body)?;
    let mut page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>{}</Name><Prefix>{}</Prefix>",
        xml_escaped(bucket),
        xml_escaped(&prefix)
    );
    let next = text(&said, "nextPageToken");
    page.push_str(&format!("<IsTruncated>{}</IsTruncated>", !next.is_empty()));
    if !next.is_empty() {
        page.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", xml_escaped(&next)));
    }
    for object in said["items"].as_array().into_iter().flatten() {
        page.push_str(&format!(
            "<Contents><Key>{}</Key><Generation>{}</Generation><LastModified>{}</LastModified>\
             <ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
            xml_escaped(&text(object, "name")),
            text(object, "generation"),
            text(object, "updated"),
            xml_escaped(&text(object, "etag")),
            text(object, "size"),
        ));
    }
    for prefix in said["prefixes"].as_array().into_iter().flatten() {
        let prefix = xml_escaped(prefix.as_str().unwrap_or_default());
        page.push_str(&format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"));
    }
    page.push_str("</ListBucketResult>");
    let head = Response::new(200).with("Content-Type", "application/xml; charset=UTF-8");
    exchange.answer(&Answer { head, body: page.into_bytes() })
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn refusal(status: u16) -> Answer {
    let code = match status {
        404 => "NoSuchBucket",
        412 => "PreconditionFailed",
        _ => "InternalError",
    };
    let body = format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>");
    Answer { head: Response::new(status).with("Content-Type", "application/xml"), body: body.into_bytes() }
}
