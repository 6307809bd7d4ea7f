//! Against servers that answer as no good one does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use strongroom_store::{
    CredentialsReason, Operation, S3Store, Store as _, StoreError, StoreOptions, UrlReason,
};
use strongroom_tests::http::Answer;
use strongroom_tests::http::message::Response;
use strongroom_tests::http::server::{Next, Server};
use strongroom_tests::services::aws::{Credentials, REGION};

use super::{config, name, put, whole_sentence};

/// A store whose service gives these answers, each with only so many bytes of its body, and then no more.
fn scripted(answers: impl IntoIterator<Item = (Answer, usize)>) -> (Server, S3Store) {
    let answers = Mutex::new(answers.into_iter().collect::<Vec<_>>().into_iter());
    let server = Server::start(None, move |exchange| {
        let (answer, body_bytes) =
            answers.lock().unwrap().next().ok_or_else(|| std::io::Error::other("a request too many"))?;
        exchange.answer_in_part(&answer, body_bytes)?;
        Ok(if body_bytes < answer.body.len() { Next::Close } else { Next::KeepAlive })
    })
    .unwrap();
    let config = config(&server.endpoint(), &Credentials::new("a", "b"));
    let store = S3Store::with_config(&config, "some-bucket", "p", &StoreOptions::default()).unwrap();
    (server, store)
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let head = Response::new(status).with("Content-Type", "application/xml").with("x-amz-request-id", "R1");
    Answer { head, body: body.into_bytes() }
}

fn whole(answer: Answer) -> (Answer, usize) {
    let length = answer.body.len();
    (answer, length)
}

fn body(bytes: &[u8]) -> Answer {
    let head = Response::new(200).with("Last-Modified", "Fri, 21 Nov 2025 00:00:00 GMT");
    Answer { head, body: bytes.to_vec() }
}

#[test]
fn a_body_that_breaks_off_is_never_short_data() {
    let long = vec![7; 1 << 20];
    for count in [0, 1, 1000, (1 << 20) - 1] {
        let (_server, store) = scripted([(body(&long), count)]);
        let error = store.get(&name("packs/1"), 1 << 20).unwrap_err();
        assert!(error.is_transient() && !error.is_throttled(), "{count}: {}", whole_sentence(&error));
    }
    let ranged = |range: &str, bytes: &[u8]| {
        let mut answer = body(bytes);
        answer.head = Response::new(206).with("Content-Range", range);
        answer
    };
    let (_server, store) = scripted([(ranged("bytes 0-9/100", b"0123456789"), 9)]);
    assert!(store.get_range(&name("packs/1"), 0, 10).unwrap_err().is_transient());
    // Too short, too long, or from elsewhere, and sure of itself.
    for answer in [
        ranged("bytes 0-8/100", b"012345678"),
        ranged("bytes 0-10/100", b"0123456789a"),
        ranged("bytes 1-10/100", b"123456789a"),
        ranged("nonsense", b"0123456789"),
        body(&[0; 100]),
    ] {
        let (_server, store) = scripted([whole(answer)]);
        let error = store.get_range(&name("packs/1"), 0, 10).unwrap_err();
        assert!(matches!(error, StoreError::Io { operation: Operation::GetRange, .. }), "{error}");
    }
}

#[test]
fn calls_are_single_requests() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let server = Server::start(None, move |exchange| {
        requests.lock().unwrap().push(exchange.request.clone());
        let length = exchange.body()?.len();
        assert!(length == 0 || exchange.request.method == "PUT");
        exchange.answer(&body(b"x"))
    })
    .unwrap();
    let config = config(&server.endpoint(), &Credentials::new("a", "b"));
    let store = S3Store::with_config(&config, "some-bucket", "p", &StoreOptions::default()).unwrap();
    let taken = || std::mem::take(&mut *seen.lock().unwrap());

    put(&store, "config", b"123456789");
    let [request] = &taken()[..] else { panic!("one request") };
    assert_eq!((&*request.method, &*request.path()), ("PUT", "/some-bucket/p/config"));
    for (header, value) in [
        ("if-none-match", Some("*")),
        ("x-amz-checksum-crc32", Some("y/Q5Jg==")),
        ("content-length", Some("9")),
        ("x-amz-storage-class", None),
        ("x-amz-object-lock-mode", None),
    ] {
        assert_eq!(request.headers.first(header), value, "{header}");
    }
    assert_eq!(store.get(&name("config"), 1).unwrap(), b"x");
    let [request] = &taken()[..] else { panic!("one request") };
    assert_eq!(request.headers.first("x-amz-checksum-mode"), Some("ENABLED"));
    assert_eq!(store.get_range(&name("config"), 0, 1).unwrap(), b"x");
    let [request] = &taken()[..] else { panic!("one request") };
    assert_eq!(request.headers.first("range"), Some("bytes=0-0"));
    assert_eq!(request.headers.first("x-amz-checksum-mode"), None);
}

#[test]
fn a_wrong_checksum_is_noticed() {
    let with_checksum = |checksum: &str| {
        let mut answer = body(b"123456789");
        answer.head.headers.set("x-amz-checksum-crc32", checksum);
        whole(answer)
    };
    let (_server, store) = scripted([with_checksum("y/Q5Jg=="), with_checksum("y/Q5Jw==")]);
    assert_eq!(store.get(&name("packs/1"), 9).unwrap(), b"123456789");
    let error = store.get(&name("packs/1"), 9).unwrap_err();
    assert!(error.is_transient(), "{}", whole_sentence(&error));
}

#[test]
fn refusals_are_told_apart() {
    let clock = "The difference between the request time and the current time is too large.";
    let region =
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    for (status, code, message) in [
        (503, "SlowDown", "Please reduce your request rate."),
        (500, "InternalError", "We encountered an internal error."),
        (400, "RequestTimeout", "Your socket connection was not read from."),
        (409, "ConditionalRequestConflict", "A conflicting operation is under way."),
    ] {
        let (_server, store) = scripted([whole(refusal(status, code, message))]);
        let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
        let said = whole_sentence(&error);
        assert!(error.is_transient() && !error.is_without_effect(), "{said}");
        assert_eq!(error.is_throttled(), status == 503, "{said}");
        assert!(said.contains(code) && said.contains(message) && said.contains("R1"), "{said}");
    }
    for (status, code, message, expected) in [
        (403, "RequestTimeTooSkewed", clock, CredentialsReason::Clock),
        (400, "ExpiredToken", "The provided token has expired.", CredentialsReason::Expired),
    ] {
        let (_server, store) = scripted([whole(refusal(status, code, message))]);
        let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
        let said = whole_sentence(&error);
        assert!(matches!(error, StoreError::Credentials { reason, .. } if reason == expected), "{said}");
        assert!(!error.is_transient() && error.is_without_effect(), "{said}");
    }
    let mut redirect = refusal(301, "PermanentRedirect", "use the specified endpoint");
    redirect.head.headers.set("x-amz-bucket-region", "eu-west-1");
    for answer in [redirect, refusal(400, "AuthorizationHeaderMalformed", region)] {
        let (_server, store) = scripted([whole(answer)]);
        let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
        let StoreError::WrongRegion { region: Some(region), .. } = &error else { panic!("{error}") };
        assert_eq!(region, "eu-west-1");
    }
    let (_server, store) = scripted([whole(refusal(501, "NotImplemented", "A header is not implemented."))]);
    let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
    assert!(matches!(error, StoreError::NoAtomicCreate { .. }), "{error}");
    let denied = "no identity-based policy allows the s3:PutObject action";
    let (_server, store) = scripted([whole(refusal(403, "AccessDenied", denied))]);
    let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
    assert!(matches!(error, StoreError::PermissionDenied { operation: Operation::Put, .. }), "{error}");
    assert!(whole_sentence(&error).contains("s3:PutObject"));
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let page = |keys: &[&str], rest: &str| {
        let object = |key: &&str| {
            format!(
                "<Contents><Key>{key}</Key><Size>1</Size><LastModified>2025-11-21T00:00:00.123Z</LastModified></Contents>"
            )
        };
        let objects: String = keys.iter().map(object).collect();
        let text = format!("<ListBucketResult>{objects}{rest}</ListBucketResult>");
        whole(body(text.as_bytes()))
    };
    let more = |token: &str| {
        format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
    };
    let list = |pages: Vec<(Answer, usize)>| {
        let (_server, store) = scripted(pages);
        let mut found = Vec::new();
        let listed = store.list("", &mut |name, info| {
            assert_eq!((info.length_bytes, info.modified_ms), (1, 1_763_683_200_000));
            found.push(name.to_string());
            Ok(())
        });
        listed.map(|()| found)
    };
    let good = vec![page(&["p/a", "p/b"], &more("1")), page(&["p/c"], "<IsTruncated>false</IsTruncated>")];
    assert_eq!(list(good).unwrap(), ["a", "b", "c"]);
    for pages in [
        vec![page(&["p/b", "p/a"], "")],
        vec![page(&["p/a", "p/a"], "")],
        vec![page(&["q/a"], "")],
        vec![page(&["p/a", "p/b"], &more("1")), page(&["p/b"], "")],
        vec![page(&["p/a"], "<IsTruncated>true</IsTruncated>")],
        vec![page(&["p/a"], &more("1")), page(&["p/b"], &more("1"))],
    ] {
        let error = list(pages).unwrap_err();
        assert!(matches!(error, StoreError::Io { operation: Operation::List, .. }), "{error}");
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    let options = |endpoint: &str, ca_bundle: Option<&str>| StoreOptions {
        region: Some(REGION.to_owned()),
        endpoint: Some(endpoint.to_owned()),
        ca_bundle: ca_bundle.map(PathBuf::from),
        ..StoreOptions::default()
    };
    for options in [options("localhost:9000", None), options("https://127.0.0.1:1", Some("/no/such/file"))] {
        let error = S3Store::open("some-bucket", "p", &options).unwrap_err();
        assert!(matches!(&error, StoreError::Aws { location, .. } if location == "s3://some-bucket/p"));
    }
    let error = strongroom_store::StoreUrl::parse("s3://").unwrap_err();
    assert!(matches!(error, StoreError::InvalidUrl { reason: UrlReason::NoBucket, .. }));
}
