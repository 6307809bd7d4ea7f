//! The object stores and the KMS that other tests stand on: they start, keep what they promise, and are gone
//! afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::net::TcpStream;

use serde_json::{Value, json};
use strongroom_tests::http::message::Request;
use strongroom_tests::http::{Answer, send};
use strongroom_tests::services::aws::{AwsClient, accepted, object, refused};
use strongroom_tests::services::azurite::Azurite;
use strongroom_tests::services::gcs::Gcs;
use strongroom_tests::services::minio::Minio;
use strongroom_tests::services::moto::Moto;

const CREATE_ONLY: [(&str, &str); 1] = [("If-None-Match", "*")];

/// What both kinds of S3 must keep.
fn assert_is_s3(client: &AwsClient) {
    client.create_bucket("plain").unwrap();
    for key in ["a/b", "a/ü x", "b"] {
        let first = client.s3("PUT", &object("plain", key), &CREATE_ONLY, b"first").unwrap();
        accepted(first).unwrap();
        let again = client.s3("PUT", &object("plain", key), &CREATE_ONLY, b"again").unwrap();
        refused(&again, 412, "PreconditionFailed").unwrap();
        assert_eq!(client.get("plain", key).unwrap(), b"first");
    }
    assert_eq!(client.list("plain", "a/").unwrap(), ["a/b", "a/ü x"]);
    client.delete("plain", "a/b").unwrap();
    let gone = client.s3("GET", &object("plain", "a/b"), &[], b"").unwrap();
    refused(&gone, 404, "NoSuchKey").unwrap();

    client.create_locking_bucket("locked").unwrap();
    // moto fails on fractions of a second.
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let lock = [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", &until)];
    // Locks demand a checksum of the content.
    let checksum = [("Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww==")];
    let put = client.s3(
        "PUT",
        &object("locked", "k"),
        &[lock, [checksum[0], CREATE_ONLY[0]]].concat(),
        b"hello world",
    );
    let version = accepted(put.unwrap()).unwrap().head.headers.first("x-amz-version-id").unwrap().to_owned();
    let deleted = client.s3("DELETE", &format!("/locked/k?versionId={version}"), &[], b"").unwrap();
    assert!((400..500).contains(&deleted.head.status), "a locked version was deleted: {}", deleted.text());
    let read = client.s3("GET", &format!("/locked/k?versionId={version}"), &[], b"").unwrap();
    assert_eq!(accepted(read).unwrap().body, b"hello world");
}

#[test]
fn minio_is_an_s3_that_knows_its_callers() {
    let Some(server) = Minio::start().unwrap() else { return };
    assert_is_s3(&server.client());
    let mut stranger = server.root().clone();
    stranger.secret_key.push('x');
    let said = AwsClient::new(server.address(), stranger).s3("GET", "/", &[], b"").unwrap();
    refused(&said, 403, "SignatureDoesNotMatch").unwrap();
    // Somebody else, who may do as much.
    let other = server.caller("backup").unwrap();
    assert_ne!(other.access_key, server.root().access_key);
    assert_eq!(AwsClient::new(server.address(), other).get("plain", "b").unwrap(), b"first");
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn moto_is_an_s3() {
    let Some(server) = Moto::start().unwrap() else { return };
    assert_is_s3(&server.client());
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

fn json_of(answer: Answer) -> Value {
    serde_json::from_slice(&accepted(answer).unwrap().body).unwrap()
}

#[test]
fn moto_is_a_kms_that_compares_contexts() {
    let Some(server) = Moto::shared().unwrap() else { return };
    let client = server.client();
    let (first, second) = (client.create_key("first").unwrap(), client.create_key("second").unwrap());
    client.create_alias("alias/first", &first).unwrap();
    let context = json!({ "sr:purpose": "data" });
    let generated = json_of(
        client
            .kms(
                "GenerateDataKey",
                &json!({ "KeyId": "alias/first", "KeySpec": "AES_256", "EncryptionContext": context }),
            )
            .unwrap(),
    );
    assert_eq!(generated["KeyId"], first);
    let decrypt = |key: &str, blob: &Value, context: &Value| {
        client
            .kms("Decrypt", &json!({ "KeyId": key, "CiphertextBlob": blob, "EncryptionContext": context }))
            .unwrap()
    };
    let blob = &generated["CiphertextBlob"];
    assert_eq!(json_of(decrypt(&first, blob, &context))["Plaintext"], generated["Plaintext"]);
    refused(&decrypt(&first, blob, &json!({ "sr:purpose": "root" })), 400, "InvalidCiphertext").unwrap();
    let moved = json_of(
        client
            .kms(
                "ReEncrypt",
                &json!({ "CiphertextBlob": blob, "SourceKeyId": first, "SourceEncryptionContext": context,
                         "DestinationKeyId": second, "DestinationEncryptionContext": context }),
            )
            .unwrap(),
    );
    assert_eq!(
        json_of(decrypt(&second, &moved["CiphertextBlob"], &context))["Plaintext"],
        generated["Plaintext"]
    );
}

#[test]
fn azurite_is_a_blob_storage() {
    let Some(server) = Azurite::start().unwrap() else { return };
    server.create_container("box").unwrap();
    let create = [("x-ms-blob-type", "BlockBlob"), ("If-None-Match", "*")];
    accepted(server.request("PUT", "/box/a/b", &create, b"first").unwrap()).unwrap();
    let again = server.request("PUT", "/box/a/b", &create, b"again").unwrap();
    assert!([409, 412].contains(&again.head.status), "{}: {}", again.head.status, again.text());
    assert_eq!(accepted(server.request("GET", "/box/a/b", &[], b"").unwrap()).unwrap().body, b"first");
    let unsigned = send(server.address(), &Request::new("GET", "/devstoreaccount1/box/a/b"), b"").unwrap();
    assert!((400..500).contains(&unsigned.head.status));
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn the_emulator_of_google_speaks_xml() {
    let Some(server) = Gcs::start().unwrap() else { return };
    server.create_bucket("bucket").unwrap();
    let create = |name: &str, body: &[u8]| {
        let request = Request::new("PUT", &object("bucket", name)).with("x-goog-if-generation-match", "0");
        send(server.address(), &request, body).unwrap()
    };
    let get = |target: &str| send(server.address(), &Request::new("GET", target), b"").unwrap();
    let made = accepted(create("a/é&<", b"first")).unwrap();
    assert!(made.head.headers.first("etag").is_some_and(|tag| tag.len() > 4));
    assert!(made.head.headers.first("x-goog-generation").is_some_and(|number| number.parse::<u64>().is_ok()));
    refused(&create("a/é&<", b"again"), 412, "PreconditionFailed").unwrap();
    assert_eq!(accepted(get(&object("bucket", "a/é&<"))).unwrap().body, b"first");
    accepted(create("a", b"")).unwrap();
    assert_eq!(accepted(get("/bucket/a")).unwrap().body, b"");
    for number in 0..5 {
        accepted(create(&format!("n/{number}"), b"x")).unwrap();
    }
    let page = accepted(get("/bucket?list-type=2&prefix=n/&max-keys=2")).unwrap();
    assert_eq!(keys(&page), ["n/0", "n/1"]);
    let token = page.xml("NextContinuationToken").unwrap();
    let page = get(&format!("/bucket?list-type=2&prefix=n/&max-keys=2&continuation-token={token}"));
    assert_eq!(keys(&page), ["n/2", "n/3"]);
    let page = get("/bucket?list-type=2&prefix=n/&start-after=n/2");
    assert_eq!(keys(&page), ["n/3", "n/4"]);
    assert!(page.xml("NextContinuationToken").is_none());
    let page = get("/bucket?list-type=2&delimiter=/");
    assert_eq!(page.text().matches("<CommonPrefixes>").count(), 2);
    assert_eq!(keys(&get("/bucket?list-type=2&prefix=a/")), ["a/é&amp;&lt;"]);
    let deleted = send(server.address(), &Request::new("DELETE", "/bucket/n/0"), b"").unwrap();
    assert!((200..300).contains(&deleted.head.status));
    assert_eq!(get("/bucket/n/0").head.status, 404);
    assert_eq!(get("/nowhere?list-type=2").head.status, 404);
    let ranged = Request::new("GET", &object("bucket", "a/é&<")).with("Range", "bytes=1-2");
    let ranged = send(server.address(), &ranged, b"").unwrap();
    assert_eq!((ranged.head.status, ranged.text().as_str()), (206, "ir"));
}

fn keys(page: &Answer) -> Vec<String> {
    let text = page.text();
    let found = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    found.map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn two_racing_creators_of_one_name_have_one_winner() {
    let (Some(minio), Some(moto), Some(gcs)) =
        (Minio::shared().unwrap(), Moto::shared().unwrap(), Gcs::shared().unwrap())
    else {
        return;
    };
    for client in [minio.client(), moto.client()] {
        client.create_bucket("race").unwrap();
        assert_eq!(winners(|| client.s3("PUT", "/race/k", &CREATE_ONLY, b"x").unwrap().head.status), 1);
    }
    gcs.create_bucket("race").unwrap();
    let request = Request::new("PUT", "/race/k").with("x-goog-if-generation-match", "0");
    assert_eq!(winners(|| send(gcs.address(), &request, b"x").unwrap().head.status), 1);
}

fn winners(create: impl Fn() -> u16 + Sync) -> usize {
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        let create = || {
            start.wait();
            create()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|status| *status == 200).count()
    })
}
