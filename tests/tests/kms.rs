//! The adapter to AWS KMS, against moto, and against answers that moto does not give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_format::registry::Purpose;
use strongroom_format::{KeyId, RepositoryId, WriterId};
use strongroom_keys::Secret;
use strongroom_keys::kms::{
    AwsKms, AwsKmsOptions, EncryptionContext, Kms, KmsBlob, KmsError, KmsRetryPolicy, KmsTrouble,
    StaticCredentials,
};
use strongroom_store::aws::AwsOptions;
use strongroom_tests::closed_port::ClosedPort;
use strongroom_tests::http::message::{Request, Response};
use strongroom_tests::http::server::{Next, Server};
use strongroom_tests::http::{Answer, send};
use strongroom_tests::services::aws::REGION;
use strongroom_tests::services::moto::Moto;

const OTHER_REGION: &str = "eu-west-1";
const ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111";
const OTHER_ARN: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-2222-2222-222222222222";

fn context() -> EncryptionContext {
    EncryptionContext {
        repository: RepositoryId([1; 16]),
        purpose: Purpose::Vault,
        key: KeyId([2; 16]),
        writer: WriterId([3; 16]),
    }
}

/// As the service sees it.
fn context_json() -> Value {
    json!({
        "sr:repository": "01".repeat(16), "sr:purpose": "vault",
        "sr:key-id": "02".repeat(16), "sr:writer": "03".repeat(16),
    })
}

/// The service at that URL, with as many attempts as usual and next to no waiting.
fn kms_at(endpoint: &str) -> AwsKms {
    AwsKms::new(AwsKmsOptions {
        aws: AwsOptions {
            region: Some(REGION.to_owned()),
            endpoint: Some(endpoint.to_owned()),
            ..AwsOptions::default()
        },
        credentials: Some(StaticCredentials {
            access_key_id: "AKIATEST".to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: None,
        }),
        retry: KmsRetryPolicy {
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(2),
            ..KmsRetryPolicy::default()
        },
    })
}

/// What is said to one request.
enum Reply {
    /// An error as KMS words it.
    Error(u16, &'static str, String),
    /// An error, from a service whose clock is wrong, or right where ours is wrong.
    ErrorAt(&'static str, String, &'static str),
    Json(Value),
    /// Something in between answers.
    Html(u16),
    /// The connection breaks before the answer.
    Cut,
    /// The connection breaks within the answer's body.
    CutWithin(Value),
}

/// A request that came.
#[derive(Debug, Clone)]
struct Seen {
    operation: String,
    /// Who signed it when for which region.
    authorization: String,
    date: String,
    arguments: Value,
}

/// Answers the first requests with `replies`, and has the rest answered by `upstream`.
struct Front {
    server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Front {
    fn start(upstream: Option<SocketAddr>, replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        let replies = Mutex::new(replies);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let server = Server::start(upstream, move |exchange| {
            let body = exchange.body()?.to_vec();
            let header = |name| exchange.request.headers.first(name).unwrap_or_default().to_owned();
            record.lock().unwrap().push(Seen {
                operation: header("x-amz-target").trim_start_matches("TrentService.").to_owned(),
                authorization: header("authorization"),
                date: header("x-amz-date"),
                arguments: serde_json::from_slice(&body).unwrap(),
            });
            let reply = replies.lock().unwrap().pop();
            let error = |code: &str, words: &str| json!({ "__type": code, "message": words });
            match reply {
                None => exchange.forward(),
                Some(Reply::Error(status, code, words)) => {
                    exchange.answer(&answer(status, &error(code, &words)))
                }
                Some(Reply::ErrorAt(code, words, date)) => {
                    let mut answer = answer(400, &error(code, &words));
                    answer.head.headers.set("Date", date);
                    exchange.answer(&answer)
                }
                Some(Reply::Json(value)) => exchange.answer(&answer(200, &value)),
                Some(Reply::Html(status)) => {
                    let head = Response::new(status).with("Content-Type", "text/html");
                    exchange.answer(&Answer { head, body: b"<html>no</html>".to_vec() })
                }
                Some(Reply::Cut) => Ok(Next::Reset),
                Some(Reply::CutWithin(value)) => {
                    exchange.answer_in_part(&answer(200, &value), 10)?;
                    Ok(Next::Close)
                }
            }
        });
        Self { server: server.unwrap(), seen }
    }

    fn kms(&self) -> AwsKms {
        kms_at(&self.server.endpoint())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    let head = Response::new(status).with("Content-Type", "application/x-amz-json-1.1");
    Answer { head, body: body.to_string().into_bytes() }
}

fn error(code: &'static str, words: &str) -> Reply {
    Reply::Error(400, code, words.to_owned())
}

/// What a decryption that is answered so comes to, and how often it was tried.
fn decrypted(replies: impl IntoIterator<Item = Reply>) -> (Result<Secret, KmsError>, usize) {
    let front = Front::start(None, replies);
    let blob = KmsBlob { arn: ARN.to_owned(), blob: vec![1; 100] };
    let result = front.kms().decrypt(&blob, &context());
    (result, front.seen().len())
}

fn trouble(replies: impl IntoIterator<Item = Reply>) -> KmsTrouble {
    decrypted(replies).0.unwrap_err().trouble
}

/// A new key in a region; moto looks at the region that a request is signed for, and not at the signature.
fn create_key(moto: &Moto, region: &str) -> String {
    let scope = format!("AKIATEST/20260101/{region}/kms/aws4_request");
    let request = Request::new("POST", "/")
        .with("Content-Type", "application/x-amz-json-1.1")
        .with("X-Amz-Target", "TrentService.CreateKey")
        .with(
            "Authorization",
            &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        );
    let answer = send(moto.address(), &request, b"{}").unwrap();
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    let arn = said["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    assert!(arn.starts_with(&format!("arn:aws:kms:{region}:")), "{arn}");
    arn
}

#[test]
fn keys_come_back_and_the_context_is_sent() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let arn = create_key(moto, REGION);
    let front = Front::start(Some(moto.address()), []);
    let kms = front.kms();

    let (secret, blob) = kms.generate(&arn, &context()).unwrap();
    assert_eq!(blob.arn, arn);
    assert_ne!(secret, Secret::new([0; 32]));
    assert_ne!(kms.generate(&arn, &context()).unwrap().0, secret);
    assert_eq!(kms.decrypt(&blob, &context()).unwrap(), secret);

    let given = Secret::new([7; 32]);
    let blob = kms.encrypt(&arn, &context(), &given).unwrap();
    assert_eq!(blob.arn, arn);
    assert!(!blob.blob.windows(32).any(|window| window == given.expose()));
    assert_eq!(kms.decrypt(&blob, &context()).unwrap(), given);

    let seen = front.seen();
    assert_eq!(front.operations(), ["GenerateDataKey", "GenerateDataKey", "Decrypt", "Encrypt", "Decrypt"]);
    for request in &seen {
        assert_eq!(request.arguments["KeyId"], *arn, "{request:?}");
        assert_eq!(request.arguments["EncryptionContext"], context_json(), "{request:?}");
    }
    assert_eq!(seen[0].arguments["NumberOfBytes"], 32);
}

#[test]
fn aliases_and_ids_become_the_arn() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let client = moto.client();
    let (arn, other) = (client.create_key("one").unwrap(), client.create_key("two").unwrap());
    client.create_alias("alias/resolved", &arn).unwrap();
    let kms = kms_at(&moto.endpoint());
    let id = arn.rsplit('/').next().unwrap();
    let alias_arn = arn.replace(&format!("key/{id}"), "alias/resolved");
    for name in [&arn, id, "alias/resolved", &alias_arn] {
        assert_eq!(kms.resolve(name).unwrap(), arn, "{name}");
        let (secret, blob) = kms.generate(name, &context()).unwrap();
        assert_eq!(blob.arn, arn, "{name}");
        assert_eq!(kms.encrypt(name, &context(), &secret).unwrap().arn, arn, "{name}");
        let elsewhere = kms.encrypt(&other, &context(), &secret).unwrap();
        assert_eq!(kms.re_encrypt(&elsewhere, &context(), name).unwrap().arn, arn, "{name}");
    }
    let error = kms.generate("alias/none", &context()).unwrap_err();
    assert_eq!(error.trouble, KmsTrouble::NoSuchKey { region: REGION.to_owned() });
    assert_eq!(error.key, "alias/none");
    assert!(matches!(kms.generate("none", &context()).unwrap_err().trouble, KmsTrouble::Name(_)));
    // A stored name that is no ARN could be made to mean another key.
    let blob = KmsBlob { arn: "alias/resolved".to_owned(), ..kms.generate(&arn, &context()).unwrap().1 };
    assert_eq!(kms.decrypt(&blob, &context()).unwrap_err().trouble, KmsTrouble::WrongBlob);
}

#[test]
fn another_context_another_key_or_changed_bytes_are_refused() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let (arn, other) = (create_key(moto, REGION), create_key(moto, REGION));
    let kms = kms_at(&moto.endpoint());
    let blob = kms.generate(&arn, &context()).unwrap().1;
    let contexts = [
        EncryptionContext { repository: RepositoryId([9; 16]), ..context() },
        EncryptionContext { purpose: Purpose::Data, ..context() },
        EncryptionContext { key: KeyId([9; 16]), ..context() },
        EncryptionContext { writer: WriterId([9; 16]), ..context() },
    ];
    for context in contexts {
        let error = kms.decrypt(&blob, &context).unwrap_err();
        assert_eq!(error.trouble, KmsTrouble::WrongBlob, "{context:?}");
        let error = kms.re_encrypt(&blob, &context, &other).unwrap_err();
        assert_eq!(error.trouble, KmsTrouble::WrongBlob, "{context:?}");
    }
    let mut changed = blob.clone();
    *changed.blob.last_mut().unwrap() ^= 1;
    assert_eq!(kms.decrypt(&changed, &context()).unwrap_err().trouble, KmsTrouble::WrongBlob);
    // This server has another error for it than AWS, which also refuses to re-encrypt.
    let claimed = KmsBlob { arn: other, ..blob };
    assert_eq!(kms.decrypt(&claimed, &context()).unwrap_err().trouble, KmsTrouble::AccessDenied);
    assert_eq!(trouble([error("IncorrectKeyException", "")]), KmsTrouble::WrongBlob);
    let answered = KmsTrouble::OtherKey { answered: arn.clone() };
    assert_eq!(kms.re_encrypt(&claimed, &context(), &arn).unwrap_err().trouble, answered);
}

#[test]
fn re_encryption_within_a_region_shows_nothing() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let (arn, other) = (create_key(moto, REGION), create_key(moto, REGION));
    let front = Front::start(Some(moto.address()), []);
    let kms = front.kms();
    let (secret, blob) = kms.generate(&arn, &context()).unwrap();
    let moved = kms.re_encrypt(&blob, &context(), &other).unwrap();
    assert_eq!(moved.arn, other);
    assert_ne!(moved.blob, blob.blob);
    assert_eq!(front.operations(), ["GenerateDataKey", "ReEncrypt"]);
    let arguments = &front.seen()[1].arguments;
    assert_eq!(arguments["SourceKeyId"], *arn);
    assert_eq!(arguments["DestinationKeyId"], *other);
    assert_eq!(arguments["SourceEncryptionContext"], context_json());
    assert_eq!(arguments["DestinationEncryptionContext"], context_json());
    assert_eq!(kms.decrypt(&moved, &context()).unwrap(), secret);
    assert_eq!(kms.decrypt(&blob, &context()).unwrap(), secret);
}

#[test]
fn re_encryption_between_regions_asks_each_region_for_its_part() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let (arn, other) = (create_key(moto, REGION), create_key(moto, OTHER_REGION));
    let front = Front::start(Some(moto.address()), []);
    let kms = front.kms();
    let (secret, blob) = kms.generate(&arn, &context()).unwrap();
    let moved = kms.re_encrypt(&blob, &context(), &other).unwrap();
    assert_eq!(moved.arn, other);
    assert_eq!(kms.decrypt(&moved, &context()).unwrap(), secret);
    // Back to the region of the options, which the ID alone means.
    let id = arn.rsplit('/').next().unwrap();
    assert_eq!(kms.re_encrypt(&moved, &context(), id).unwrap().arn, arn);
    let asked: Vec<(String, bool)> = front
        .seen()
        .into_iter()
        .map(|seen| (seen.operation, seen.authorization.contains(&format!("/{OTHER_REGION}/kms/"))))
        .collect();
    let expected = [
        ("GenerateDataKey", false),
        ("Decrypt", false),
        ("Encrypt", true),
        ("Decrypt", true),
        ("Decrypt", true),
        ("Encrypt", false),
    ];
    assert_eq!(asked, expected.map(|(operation, is_other)| (operation.to_owned(), is_other)));
    // Unknown in that region, where the ARN says that it is.
    let elsewhere = arn.replace(REGION, OTHER_REGION);
    let error = kms.generate(&elsewhere, &context()).unwrap_err();
    assert_eq!(error.trouble, KmsTrouble::NoSuchKey { region: OTHER_REGION.to_owned() });
    let lost = KmsBlob { arn: elsewhere, ..blob };
    kms.decrypt(&lost, &context()).unwrap_err();
}

#[test]
fn keys_that_are_disabled_or_pending_deletion_are_named() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let client = moto.client();
    let kms = kms_at(&moto.endpoint());
    let key = |alias: &str, operation: &str| {
        let arn = client.create_key(alias).unwrap();
        client.create_alias(alias, &arn).unwrap();
        // This server knows keys by their ID alone here.
        let arguments = json!({ "KeyId": arn.rsplit('/').next(), "PendingWindowInDays": 7 });
        assert_eq!(client.kms(operation, &arguments).unwrap().head.status, 200);
        kms.resolve(alias).unwrap_err()
    };
    let error = key("alias/disabled", "DisableKey");
    assert_eq!((error.action, error.trouble), ("kms:DescribeKey", KmsTrouble::Disabled));
    assert_eq!(key("alias/doomed", "ScheduleKeyDeletion").trouble, KmsTrouble::PendingDeletion);

    // And in use, as AWS words it.
    let (result, attempts) = decrypted([error_of_state("DisabledException", "is disabled.")]);
    let error = result.unwrap_err();
    assert_eq!((&error.trouble, attempts), (&KmsTrouble::Disabled, 1));
    assert_eq!(
        error.to_string(),
        format!("kms:Decrypt with KMS key {ARN} for purpose vault: the key is disabled; enable it")
    );
    let state = "KMSInvalidStateException";
    assert_eq!(trouble([error_of_state(state, "is pending deletion.")]), KmsTrouble::PendingDeletion);
    let import = trouble([error_of_state(state, "is pending import.")]);
    assert!(matches!(import, KmsTrouble::Unusable { .. }), "{import:?}");
}

fn error_of_state(code: &'static str, state: &str) -> Reply {
    error(code, &format!("{ARN} {state}"))
}

#[test]
fn whoever_is_refused_learns_which_right_is_missing_on_which_key() {
    let words =
        format!("User: arn:aws:iam::123456789012:user/x is not authorized to perform: kms:Decrypt on {ARN}");
    let (result, attempts) = decrypted([error("AccessDeniedException", &words)]);
    let refusal = result.unwrap_err();
    assert!(refusal.is_denied());
    assert_eq!(attempts, 1);
    assert_eq!(
        (refusal.action, refusal.key.as_str(), refusal.purpose),
        ("kms:Decrypt", ARN, Some(Purpose::Vault))
    );

    let blob = KmsBlob { arn: ARN.to_owned(), blob: vec![1; 100] };
    for (right, key) in [("kms:ReEncryptFrom", ARN), ("kms:ReEncryptTo", OTHER_ARN)] {
        let words = format!("User: x is not authorized to perform: {right} on resource: {key}");
        let front = Front::start(None, [error("AccessDeniedException", &words)]);
        let refusal = front.kms().re_encrypt(&blob, &context(), OTHER_ARN).unwrap_err();
        assert_eq!((refusal.action, refusal.key.as_str()), (right, key));
        assert!(refusal.is_denied());
    }
    let front = Front::start(None, [error("AccessDeniedException", ""), error("AccessDeniedException", "")]);
    assert_eq!(front.kms().generate(ARN, &context()).unwrap_err().action, "kms:GenerateDataKey");
    assert_eq!(front.kms().resolve("alias/x").unwrap_err().action, "kms:DescribeKey");
}

#[test]
fn throttling_and_lost_answers_pass() {
    let Some(moto) = Moto::shared().unwrap() else { return };
    let arn = create_key(moto, REGION);
    let throttled = || error("ThrottlingException", "Rate exceeded");
    let front = Front::start(Some(moto.address()), [throttled(), throttled(), throttled()]);
    let (secret, blob) = front.kms().generate(&arn, &context()).unwrap();
    assert_eq!(front.operations(), ["GenerateDataKey"; 4]);

    let internal = Reply::Error(500, "KMSInternalException", String::new());
    let passing = [internal, Reply::Html(503), Reply::Cut, Reply::CutWithin(json!({ "KeyId": arn }))];
    let front = Front::start(Some(moto.address()), passing);
    assert_eq!(front.kms().decrypt(&blob, &context()).unwrap(), secret);
    assert_eq!(front.operations(), ["Decrypt"; 5]);
}

#[test]
fn patience_ends() {
    let (result, attempts) = decrypted((0..20).map(|_| error("ThrottlingException", "Rate exceeded")));
    assert_eq!((result.unwrap_err().trouble, attempts), (KmsTrouble::Throttled { attempts: 8 }, 8));
    let (result, attempts) = decrypted((0..20).map(|_| error("DependencyTimeoutException", "wait")));
    let reason = "DependencyTimeoutException: wait".to_owned();
    assert_eq!((result.unwrap_err().trouble, attempts), (KmsTrouble::Other { reason }, 8));
    let (result, attempts) = decrypted((0..20).map(|_| Reply::Cut));
    assert!(matches!(result.unwrap_err().trouble, KmsTrouble::Unreachable { .. }));
    assert_eq!(attempts, 5);
}

#[test]
fn an_endpoint_that_nobody_listens_at_is_named() {
    let closed = ClosedPort::take().unwrap();
    let error = kms_at(&closed.endpoint()).generate(ARN, &context()).unwrap_err();
    let KmsTrouble::Unreachable { endpoint, reason } = error.trouble else { panic!("{error}") };
    assert_eq!(endpoint, closed.endpoint());
    assert!(reason.contains("Connection refused"), "{reason}");
}

#[test]
fn answers_that_are_none_are_refused() {
    // 32 bytes, 31 bytes, and a blob, in base64.
    let (long, short, blob) = ("A".repeat(43) + "=", "A".repeat(42) + "==", "AQID");
    assert_eq!(
        decrypted([Reply::Json(json!({ "KeyId": ARN, "Plaintext": long }))]).0.unwrap(),
        Secret::new([0; 32])
    );
    let answers = [
        json!({}),
        json!({ "KeyId": ARN }),
        json!({ "KeyId": ARN, "Plaintext": short }),
        json!({ "Plaintext": long }),
        json!({ "KeyId": "alias/x", "Plaintext": long }),
    ];
    for answer in answers {
        assert_eq!(trouble([Reply::Json(answer.clone())]), KmsTrouble::Malformed, "{answer}");
    }
    let answer = json!({ "KeyId": OTHER_ARN, "Plaintext": long });
    assert_eq!(trouble([Reply::Json(answer)]), KmsTrouble::OtherKey { answered: OTHER_ARN.to_owned() });

    let answers = [
        json!({ "KeyId": ARN, "Plaintext": long }),
        json!({ "KeyId": ARN, "Plaintext": long, "CiphertextBlob": "" }),
        json!({ "KeyId": ARN, "CiphertextBlob": blob }),
        json!({ "KeyId": "alias/x", "Plaintext": long, "CiphertextBlob": blob }),
    ];
    for answer in answers {
        let front = Front::start(None, [Reply::Json(answer.clone())]);
        let error = front.kms().generate("alias/x", &context()).unwrap_err();
        assert_eq!(error.trouble, KmsTrouble::Malformed, "{answer}");
    }
    // A proxy's log-in page, and its refusal.
    for status in [302, 403] {
        let trouble = trouble([Reply::Html(status)]);
        assert!(
            matches!(&trouble, KmsTrouble::Other { reason } if reason.contains(&status.to_string())),
            "{trouble}"
        );
    }
    let (result, attempts) = decrypted((0..20).map(|_| Reply::Html(200)));
    let trouble = result.unwrap_err().trouble;
    assert!(matches!(trouble, KmsTrouble::Unreachable { .. }), "{trouble}");
    assert_eq!(attempts, 5);
}

#[test]
fn bad_credentials_and_clocks_are_told_apart() {
    let reason = |reply: Reply| match trouble([reply]) {
        KmsTrouble::Credentials { reason } => reason,
        other => panic!("{other:?}"),
    };
    let expired =
        reason(error("ExpiredTokenException", "The security token included in the request is expired"));
    assert!(expired.contains("the session has expired"), "{expired}");
    let unknown = reason(error("UnrecognizedClientException", "The security token is invalid."));
    assert!(unknown.contains("the access key is unknown here"), "{unknown}");

    // The second attempt is signed with the service's time.
    let long = "A".repeat(43) + "=";
    let skewed = || {
        let words = "Signature not yet current: 20260101T000000Z is still later than 20200101T000000Z";
        Reply::ErrorAt("InvalidSignatureException", words.to_owned(), "Wed, 01 Jan 2020 00:00:00 GMT")
    };
    let front = Front::start(None, [skewed(), Reply::Json(json!({ "KeyId": ARN, "Plaintext": long }))]);
    let blob = KmsBlob { arn: ARN.to_owned(), blob: vec![1; 100] };
    front.kms().decrypt(&blob, &context()).unwrap();
    let dates: Vec<String> = front.seen().into_iter().map(|seen| seen.date).collect();
    assert!(!dates[0].starts_with("2020") && dates[1].starts_with("20200101T0000"), "{dates:?}");
    let (result, attempts) = decrypted((0..20).map(|_| skewed()));
    let text = result.unwrap_err().to_string();
    assert!(text.contains("the clock of this machine is wrong"), "{text}");
    assert_eq!(attempts, 2);
}

/// Has the test below run in a process with that environment and nothing else, which then says what is generated.
fn in_environment(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let folder = tempfile::tempdir().unwrap();
    child
        .args(["--exact", "the_environment_is_asked_for_what_options_leave_out", "--nocapture"])
        .env_clear()
        .env(CHILD, "1");
    child.env("HOME", folder.path()).env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Set in that process.
const CHILD: &str = "STRONGROOM_TEST_CHILD";

/// Says what AWS answers to what the environment asks it with.
#[allow(clippy::print_stdout, reason = "how the test learns of it")]
fn say_what_is_generated() {
    let retry = KmsRetryPolicy { first_delay: Duration::ZERO, ..KmsRetryPolicy::default() };
    let kms = AwsKms::new(AwsKmsOptions { retry, ..AwsKmsOptions::default() });
    match kms.generate("alias/environment", &context()) {
        Ok((_, blob)) => println!("OK {}", blob.arn),
        Err(error) => println!("ERROR {error}"),
    }
}

#[test]
fn the_environment_is_asked_for_what_options_leave_out() {
    if std::env::var_os(CHILD).is_some() {
        return say_what_is_generated();
    }
    let front = Front::start(
        None,
        [Reply::Json(json!({ "KeyId": ARN, "Plaintext": "A".repeat(43) + "=", "CiphertextBlob": "AQID" }))],
    );
    let endpoint = front.server.endpoint();
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let (region, url) = (("AWS_REGION", OTHER_REGION), ("AWS_ENDPOINT_URL_KMS", endpoint.as_str()));

    let said = in_environment(&[region, url]);
    assert!(said.contains("no usable credentials: there are none in the environment"), "{said}");
    let said = in_environment(&[keys[0], keys[1], url]);
    assert!(said.contains("no region is set; set AWS_REGION"), "{said}");
    assert!(front.seen().is_empty());
    let said = in_environment(&[keys[0], keys[1], region, url]);
    assert!(said.contains(&format!("OK {ARN}")), "{said}");
    let authorization = &front.seen()[0].authorization;
    assert!(
        authorization.contains("Credential=AKIAENV/") && authorization.contains("/eu-west-1/kms/"),
        "{authorization}"
    );
    let closed = ClosedPort::take().unwrap();
    let endpoint = closed.endpoint();
    let url = ("AWS_ENDPOINT_URL_KMS", &*endpoint);
    let said = in_environment(&[keys[0], keys[1], region, url]);
    assert!(said.contains(&format!("the service cannot be reached at {endpoint}")), "{said}");
}
