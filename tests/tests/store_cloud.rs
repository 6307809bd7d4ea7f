//! The stores on Azure and on Google's cloud, against their emulators, and against servers that answer as no good one
//! does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_store::{
    CloudStore, CredentialsReason, ManualTimer, ObjectName, Operation, PutOutcome, RetryPolicy, RetryStore,
    Store, StoreError, StoreOptions, conformance,
};
use strongroom_tests::closed_port::ClosedPort;
use strongroom_tests::http::message::{Request, Response};
use strongroom_tests::http::server::{Next, Server};
use strongroom_tests::http::tls::TlsServer;
use strongroom_tests::http::{Answer, percent_encoded, send};
use strongroom_tests::noise::noise;
use strongroom_tests::proxy::fault::{Fault, FaultProxy, Kind, Rule};
use strongroom_tests::services::azurite::{ACCOUNT, Azurite};
use strongroom_tests::services::gcs::Gcs;

/// Letters of many bytes, and all that URLs treat in their own way.
const UNICODE: &str = "Sicherung für ü + 100%/日本 %20?#&=@:~";

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

fn put(store: &dyn Store, object: &str, bytes: &[u8]) {
    assert_eq!(store.put_if_absent(&name(object), bytes).unwrap(), PutOutcome::Created, "{object}");
}

fn listed(store: &dyn Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    store.list(prefix, &mut |name, _| {
        found.push(name.to_string());
        Ok(())
    })?;
    Ok(found)
}

fn whole_sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn options(endpoint: &str) -> StoreOptions {
    StoreOptions { endpoint: Some(endpoint.to_owned()), ..StoreOptions::default() }
}

/// Of the account that emulators have. `endpoint` is without it.
fn azure(endpoint: &str, container: &str, prefix: &str) -> CloudStore {
    CloudStore::azure(Some(ACCOUNT), container, prefix, &options(&format!("{endpoint}/{ACCOUNT}"))).unwrap()
}

fn gcs(endpoint: &str, bucket: &str, prefix: &str) -> CloudStore {
    CloudStore::gcs(bucket, prefix, &options(endpoint)).unwrap()
}

/// Opens a store of either kind.
type Open = fn(&str, &str, &str) -> CloudStore;

const BOTH: [Open; 2] = [azure, gcs];

fn conforms(open: Open, endpoint: &str, bucket: &str) {
    for prefix in ["", "a/b", UNICODE] {
        conformance::suite(&open(endpoint, bucket, prefix))
            .unwrap_or_else(|error| panic!("{prefix:?}: {}", whole_sentence(&error)));
    }
    conformance::probe(&open(endpoint, bucket, "probe")).unwrap();
    conformance::many_objects(&open(endpoint, bucket, "many")).unwrap();
    conformance::large_object(&open(endpoint, bucket, "large")).unwrap();
}

#[test]
fn azurite_conforms() {
    let Some(server) = Azurite::shared().unwrap() else { return };
    server.create_container("conformance").unwrap();
    conforms(azure, &server.endpoint(), "conformance");
}

#[test]
fn the_emulator_of_google_conforms() {
    let Some(server) = Gcs::shared().unwrap() else { return };
    server.create_bucket("conformance").unwrap();
    conforms(gcs, &server.endpoint(), "conformance");
}

/// What is not this repository's, and what has no name that it could have.
const FOREIGN: [&str; 6] = ["r/Über Maß", "r/a b+c", "r2/a", "r", "other", "r/A/b"];

#[test]
fn foreign_blobs_are_skipped() {
    let Some(server) = Azurite::shared().unwrap() else { return };
    server.create_container("foreign").unwrap();
    let store = azure(&server.endpoint(), "foreign", "r");
    put(&store, "a/b", b"1");
    for foreign in FOREIGN {
        let target = format!("/foreign/{}", percent_encoded(foreign, false));
        let answer = server.request("PUT", &target, &[("x-ms-blob-type", "BlockBlob")], b"foreign").unwrap();
        assert_eq!(answer.head.status, 201, "{foreign}");
    }
    assert_eq!(listed(&store, "").unwrap(), ["a/b"]);
    assert_eq!(listed(&azure(&server.endpoint(), "foreign", UNICODE), "").unwrap(), Vec::<String>::new());
}

#[test]
fn foreign_objects_are_skipped_on_google() {
    let Some(server) = Gcs::shared().unwrap() else { return };
    server.create_bucket("foreign").unwrap();
    let store = gcs(&server.endpoint(), "foreign", "r");
    put(&store, "a/b", b"1");
    for foreign in FOREIGN {
        let target = format!(
            "/upload/storage/v1/b/foreign/o?uploadType=media&name={}",
            percent_encoded(foreign, true)
        );
        assert_eq!(send(server.address(), &Request::new("POST", &target), b"x").unwrap().head.status, 200);
    }
    assert_eq!(listed(&store, "").unwrap(), ["a/b"]);
}

fn a_missing_bucket_is_named(open: Open, endpoint: &str) {
    let store = open(endpoint, "no-such-bucket", "p");
    let object = name("config");
    for error in [
        store.put_if_absent(&object, b"x").map(drop).unwrap_err(),
        store.get(&object, 1).map(drop).unwrap_err(),
        listed(&store, "").map(drop).unwrap_err(),
        conformance::probe(&store).unwrap_err(),
    ] {
        let said = whole_sentence(&error);
        assert!(matches!(error, StoreError::NoSuchBucket { .. }), "{said}");
        assert!(!error.is_transient() && said.contains("no-such-bucket/p"), "{said}");
    }
}

#[test]
fn a_missing_container_is_named() {
    let Some(server) = Azurite::shared().unwrap() else { return };
    a_missing_bucket_is_named(azure, &server.endpoint());
}

#[test]
fn a_missing_bucket_is_named_on_google() {
    let endpoint = scripted_endpoint(|request| match request.method.as_str() {
        "HEAD" => Answer { head: Response::new(404), body: Vec::new() },
        _ => refusal(404, "NoSuchBucket", "The specified bucket does not exist."),
    });
    a_missing_bucket_is_named(gcs, &endpoint.endpoint());
}

/// Three requests of ten go wrong in every way that passes, and everything holds all the same.
fn holds_on_bad_days(open: Open, proxy: &FaultProxy) {
    for seed in [1] {
        proxy.fail_randomly(seed, 30, &Fault::PASSING);
        let store = open(&proxy.endpoint(), "bad-days", &format!("seed-{seed}"));
        let store = retrying(store, Duration::from_secs(24 * 60 * 60));
        conformance::many_objects(&store)
            .unwrap_or_else(|error| panic!("{seed}: {}", whole_sentence(&error)));
        let bytes = noise(1 << 20, seed);
        for number in 0..30_usize {
            let object = name(&format!("packs/{number}"));
            let own = &bytes[number..];
            assert_eq!(store.put_if_absent(&object, own).unwrap(), PutOutcome::Created, "{seed}: {object}");
            assert_eq!(store.put_if_absent(&object, b"other").unwrap(), PutOutcome::AlreadyExists);
            assert!(store.get(&object, 1 << 20).unwrap() == own, "{seed}: {object}");
            assert!(
                store.get_range(&object, 1000, 500_000).unwrap() == own[1000..501_000],
                "{seed}: {object}"
            );
            assert_eq!(store.stat(&object).unwrap().length_bytes, own.len() as u64);
        }
        assert_eq!(listed(&store, "packs/").unwrap().len(), 30);
        assert!(proxy.faults() > 500, "{} faults", proxy.faults());
        proxy.heal();
        proxy.forget();
    }
}

/// Tries again without waiting.
fn retrying(store: CloudStore, deadline: Duration) -> RetryStore<CloudStore> {
    let policy = RetryPolicy { deadline, ..RetryPolicy::default() };
    RetryStore::with(store, policy, Arc::new(ManualTimer::new()), Arc::new(|| u64::MAX / 2))
}

#[test]
fn a_blob_store_survives_bad_days() {
    let Some(server) = Azurite::shared().unwrap() else { return };
    server.create_container("bad-days").unwrap();
    holds_on_bad_days(azure, &FaultProxy::start(server.address()).unwrap());
}

#[test]
fn google_survives_bad_days() {
    let Some(server) = Gcs::shared().unwrap() else { return };
    server.create_bucket("bad-days").unwrap();
    holds_on_bad_days(gcs, &FaultProxy::start(server.address()).unwrap());
}

#[test]
fn a_list_goes_on_where_it_was_cut() {
    let Some(server) = Gcs::shared().unwrap() else { return };
    server.create_bucket("cut-list").unwrap();
    let proxy = FaultProxy::start(server.address()).unwrap();
    let store = gcs(&proxy.endpoint(), "cut-list", "p");
    for number in 0..5 {
        put(&store, &format!("journal/{number}"), b"");
    }
    proxy.add(Rule::new(Fault::ShortBody).on(Kind::List));
    assert!(listed(&store, "journal/").unwrap_err().is_transient());
    let mut found = Vec::new();
    store
        .list_after("journal/", &name("journal/2"), &mut |name, _| {
            found.push(name.to_string());
            Ok(())
        })
        .unwrap();
    assert_eq!(found, ["journal/3", "journal/4"]);
    let asked = proxy.seen().last().unwrap().text();
    assert!(asked.contains("start-after=p/journal/2"), "{asked}");
}

/// A server that answers whatever the function says.
fn scripted_endpoint(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(None, move |exchange| {
        let _body = exchange.body()?;
        let answer = answer(&exchange.request);
        exchange.answer(&answer)
    })
    .unwrap()
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}\nRequestId:1</Message></Error>"
    );
    Answer { head: Response::new(status).with("Content-Type", "application/xml"), body: body.into_bytes() }
}

fn object(status: u16, body: &[u8]) -> Answer {
    let head = Response::new(status)
        .with("Last-Modified", "Fri, 21 Nov 2025 00:00:00 GMT")
        .with("ETag", "\"1\"")
        .with("x-goog-generation", "1");
    Answer { head, body: body.to_vec() }
}

#[test]
fn refusals_are_told_apart() {
    for open in BOTH {
        let refused = |status, code: &'static str| {
            let server = scripted_endpoint(move |_| refusal(status, code, "Something of use."));
            let store = open(&server.endpoint(), "some-bucket", "p");
            store.put_if_absent(&name("config"), b"x")
        };
        for (status, code) in
            [(503, "ServerBusy"), (429, "TooManyRequests"), (500, "InternalError"), (409, "Conflict")]
        {
            let error = refused(status, code).unwrap_err();
            let said = whole_sentence(&error);
            assert!(error.is_transient() && !error.is_without_effect(), "{said}");
            assert_eq!(error.is_throttled(), matches!(status, 503 | 429), "{said}");
            assert!(said.contains(code) && said.contains("Something of use."), "{said}");
            assert!(!said.contains("RequestId"), "{said}");
        }
        for (status, code, expected) in [
            (403, "RequestTimeTooSkewed", CredentialsReason::Clock),
            (400, "ExpiredToken", CredentialsReason::Expired),
            (403, "AuthenticationFailed", CredentialsReason::Signature),
            (401, "AuthenticationRequired", CredentialsReason::Unknown),
        ] {
            let error = refused(status, code).unwrap_err();
            let said = whole_sentence(&error);
            assert!(matches!(error, StoreError::Credentials { reason, .. } if reason == expected), "{said}");
            assert!(!error.is_transient() && error.is_without_effect(), "{said}");
        }
        let error = refused(403, "AuthorizationPermissionMismatch").unwrap_err();
        let said = whole_sentence(&error);
        assert!(matches!(error, StoreError::PermissionDenied { operation: Operation::Put, .. }), "{said}");
        assert!(said.contains("AuthorizationPermissionMismatch"), "{said}");
        let error = refused(400, "InvalidHeaderValue").unwrap_err();
        assert!(matches!(error, StoreError::Io { operation: Operation::Put, .. }), "{error}");
        assert!(whole_sentence(&error).contains("InvalidHeaderValue"));
        for (status, code) in
            [(412, "ConditionNotMet"), (409, "BlobAlreadyExists"), (409, "BlobImmutableDueToPolicy")]
        {
            assert_eq!(refused(status, code).unwrap(), PutOutcome::AlreadyExists, "{code}");
        }
    }
}

#[test]
fn creating_is_one_conditional_request() {
    for (open, condition) in
        [(azure as Open, ("if-none-match", "*")), (gcs as Open, ("x-goog-if-generation-match", "0"))]
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        let server = scripted_endpoint(move |request| {
            requests.lock().unwrap().push(request.clone());
            object(201, b"")
        });
        let mut options = options(&server.endpoint());
        options.storage_class_packs = Some("COLDLINE".to_owned());
        put(&open(&server.endpoint(), "some-bucket", "p"), "config", b"123456789");
        let [request] = &std::mem::take(&mut *seen.lock().unwrap())[..] else { panic!("one request") };
        assert_eq!(request.method, "PUT");
        assert_eq!(request.headers.first(condition.0), Some(condition.1));
        assert_eq!(request.headers.first("content-length"), Some("9"));
        assert!(request.path().ends_with("/some-bucket/p/config"), "{}", request.path());
        if condition.0.starts_with("x-goog") {
            assert_eq!(request.headers.first("authorization"), Some("Bearer none"), "no secret without TLS");
            let store = CloudStore::gcs("some-bucket", "p", &options).unwrap();
            put(&store, "packs/1", b"x");
            put(&store, "meta/1", b"x");
            let classes: Vec<_> = seen.lock().unwrap().iter().map(class_of).collect();
            assert_eq!(classes, [Some("COLDLINE".to_owned()), None]);
        }
    }
}

fn class_of(request: &Request) -> Option<String> {
    request.headers.first("x-goog-storage-class").map(str::to_owned)
}

#[test]
fn a_body_that_breaks_off_is_never_short_data() {
    let long = 1_usize << 20;
    for open in BOTH {
        for count in [0, 1, 1000, long - 1] {
            let server = Server::start(None, move |exchange| {
                exchange.answer_in_part(&object(200, &vec![7; long]), count)?;
                Ok(Next::Close)
            })
            .unwrap();
            let store = open(&server.endpoint(), "some-bucket", "p");
            let error = store.get(&name("packs/1"), 1 << 20).unwrap_err();
            assert!(error.is_transient() && !error.is_throttled(), "{count}: {}", whole_sentence(&error));
            let answer = store.get(&name("packs/1"), 1);
            assert!(
                matches!(answer, Err(StoreError::TooLarge { length_bytes: 1_048_576, .. })),
                "{answer:?}"
            );
        }
        // Too short, too long, or from elsewhere, and sure of itself.
        for (range, bytes) in [
            (Some("bytes 0-8/100"), b"012345678".as_slice()),
            (Some("bytes 0-9/100"), b"0123"),
            (Some("bytes 0-9/100"), b"0123456789abcdef"),
            (Some("bytes 1-10/100"), b"123456789a"),
            (Some("nonsense"), b"0123456789"),
            (None, b"0123456789"),
        ] {
            let server = Server::start(None, move |exchange| {
                if exchange.request.method == "HEAD" {
                    let mut answer = object(200, b"");
                    answer.head.headers.set("Content-Length", "100");
                    exchange.answer_in_part(&answer, 0)?;
                    return Ok(Next::KeepAlive);
                }
                let mut answer = object(if range.is_some() { 206 } else { 200 }, bytes);
                if let Some(range) = range {
                    answer.head.headers.set("Content-Range", range);
                }
                exchange.answer(&answer)
            })
            .unwrap();
            let store = open(&server.endpoint(), "some-bucket", "p");
            let error = store.get_range(&name("packs/1"), 0, 10).unwrap_err();
            let said = whole_sentence(&error);
            assert!(
                matches!(
                    error,
                    StoreError::Io { operation: Operation::GetRange, .. } | StoreError::Transient { .. }
                ),
                "{range:?}: {said}"
            );
        }
    }
}

#[test]
fn a_list_that_makes_no_sense_is_refused() {
    let page = |open: Open, names: &'static [&'static str]| {
        let server = scripted_endpoint(move |request| {
            let of_azure = request.parameter("comp").is_some();
            let entry = |name: &&str| {
                if of_azure {
                    format!(
                        "<Blob><Name>{name}</Name><Properties><Last-Modified>Fri, 21 Nov 2025 00:00:00 GMT</Last-Modified><Content-Length>1</Content-Length><Content-Type>x/y</Content-Type><Etag>1</Etag></Properties></Blob>"
                    )
                } else {
                    format!(
                        "<Contents><Key>{name}</Key><Size>1</Size><LastModified>2025-11-21T00:00:00.123Z</LastModified></Contents>"
                    )
                }
            };
            let entries: String = names.iter().map(entry).collect();
            let text = if of_azure {
                format!("<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>")
            } else {
                format!("<ListBucketResult>{entries}</ListBucketResult>")
            };
            Answer { head: Response::new(200), body: text.into_bytes() }
        });
        listed(&open(&server.endpoint(), "some-bucket", "p"), "")
    };
    for open in BOTH {
        assert_eq!(page(open, &["p/a", "p/b"]).unwrap(), ["a", "b"]);
        for names in [["p/b", "p/a"].as_slice(), &["p/a", "p/a"], &["p/a/c", "p/a-b"]] {
            let error = page(open, names).unwrap_err();
            assert!(matches!(error, StoreError::Io { operation: Operation::List, .. }), "{names:?}: {error}");
            assert!(whole_sentence(&error).contains("order of bytes"));
        }
    }
}

#[test]
fn a_frozen_blob_is_told_from_a_broken_one() {
    let server = scripted_endpoint(|_| refusal(409, "BlobArchived", "This operation is not permitted."));
    let store = azure(&server.endpoint(), "some-bucket", "p");
    for answer in [store.get(&name("packs/1"), 9), store.get_range(&name("packs/1"), 0, 1)] {
        assert!(matches!(answer, Err(StoreError::Archived { .. })), "{answer:?}");
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let closed = ClosedPort::take().unwrap();
    for open in BOTH {
        let store = retrying(open(&closed.endpoint(), "some-bucket", "p"), Duration::from_secs(60));
        let error = store.put_if_absent(&name("config"), b"x").unwrap_err();
        let said = whole_sentence(&error);
        assert!(matches!(error, StoreError::Unreachable { .. }), "{said}");
        assert!(error.is_transient() && error.is_without_effect() && said.contains("tried"), "{said}");
    }
}

#[test]
fn a_private_authority_has_to_be_named() {
    let TlsServer { endpoint, certificate } = TlsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    std::fs::write(&bundle, certificate).unwrap();
    let read = |ca_bundle| {
        let options = StoreOptions { ca_bundle, ..options(&endpoint) };
        let store = CloudStore::azure(Some(ACCOUNT), "some-container", "p", &options).unwrap();
        store.get(&name("config"), 1).unwrap_err()
    };
    let error = read(None);
    let said = whole_sentence(&error);
    assert!(matches!(error, StoreError::Untrusted { .. }) && !error.is_transient(), "{said}");
    assert!(said.contains("CA bundle"), "{said}");
    let error = read(Some(bundle));
    assert!(error.is_not_found(), "{}", whole_sentence(&error));
}

#[test]
fn options_that_cannot_be_are_refused() {
    for endpoint in ["", "storage.example", "ftp://host", "http://", "http://u:hunter2@host", "http://h?x"] {
        for answer in [
            CloudStore::gcs("bucket", "p", &options(endpoint)),
            CloudStore::azure(Some(ACCOUNT), "container", "p", &options(endpoint)),
        ] {
            let error = answer.map(drop).unwrap_err();
            assert!(matches!(error, StoreError::InvalidOption { option: "endpoint", .. }), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("ca.pem");
    let trusting = StoreOptions { ca_bundle: Some(bundle.clone()), ..options("https://localhost:1") };
    let open = || CloudStore::gcs("bucket", "p", &trusting).map(drop);
    assert!(matches!(open(), Err(StoreError::Io { operation: Operation::Open, .. })));
    std::fs::write(&bundle, "nothing").unwrap();
    assert!(matches!(open(), Err(StoreError::InvalidOption { .. })));
}
