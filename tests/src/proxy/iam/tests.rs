//! The shipped policies, right by right, and the proxy in front of servers that say yes to everything.

use serde_json::json;

use super::roles::{BUCKET_POLICY, Filling, Role, SSE_KMS};
use super::*;
use crate::http::message::Response;
use crate::http::send;
use crate::services::aws::{AwsClient, Credentials, refused};

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555";
const REPOSITORY: &str = "000102030405060708090a0b0c0d0e0f";
const WRITER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

fn filling() -> Filling {
    Filling::new("bucket", "backups/", KEY, REPOSITORY, WRITER)
}

/// Whether a role may do all that a request of S3 needs.
fn may(role: Role, request: &Request) -> bool {
    let (identity, bucket) = ([filling().policy(role).unwrap()], [filling().bucket_policy().unwrap()]);
    let principal = role_arn(role.name());
    s3::needs(request, b"").into_iter().all(|mut need| {
        need.context.insert("aws:principalarn".into(), vec![principal.clone()]);
        need.context.insert("aws:securetransport".into(), vec!["true".into()]);
        let (action, resource, context) = (&need.action, &need.resource, &need.context);
        decide(&identity, &bucket, &Access { principal: &principal, action, resource, context })
            == Verdict::Allowed
    })
}

fn create(folder: &str) -> Request {
    Request::new("PUT", &format!("/bucket/backups/{folder}")).with("If-None-Match", "*")
}

const OBJECTS: [&str; 11] = [
    "config",
    "journal/0",
    "checkpoints/0",
    "keys/k/r",
    "packs/aa/x",
    "meta/aa/x",
    "parity/x",
    "index/t/x",
    "parts/g/0",
    "running/x",
    "wal/x",
];

/// The objects that a role may treat so, by their folders.
fn allowed(role: Role, request: impl Fn(&str) -> Request) -> String {
    let folders = OBJECTS.iter().filter(|name| may(role, &request(name)));
    folders.map(|name| name.split('/').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn rights_on_the_store_are_those_of_the_protocol() {
    let delete = |name: &str| Request::new("DELETE", &format!("/bucket/backups/{name}"));
    let get = |name: &str| Request::new("GET", &format!("/bucket/backups/{name}"));
    let everything = "config journal checkpoints keys packs meta parity index parts running wal";
    for (role, creates, deletes) in [
        (Role::Backup, "journal keys packs meta parity index parts running wal", ""),
        (Role::Restore, "journal", ""),
        (
            Role::Prune,
            "journal checkpoints packs meta parity index",
            "checkpoints packs meta parity index parts running wal",
        ),
        (Role::Audit, "journal", ""),
        (Role::Admin, "config journal keys packs parity index", "keys"),
    ] {
        assert_eq!(allowed(role, create), creates, "{role:?} creates");
        assert_eq!(allowed(role, delete), deletes, "{role:?} deletes");
        assert_eq!(allowed(role, get), everything, "{role:?} reads");
        // Neither another repository, nor the bucket itself, nor versions for good.
        assert!(!may(role, &Request::new("GET", "/bucket/other/config")));
        assert!(!may(role, &Request::new("PUT", "/bucket/other/journal/0").with("If-None-Match", "*")));
        assert!(!may(role, &Request::new("PUT", "/bucket?policy")));
        assert!(!may(role, &Request::new("DELETE", "/bucket/backups/packs/aa/x?versionId=1")));
        assert!(may(role, &Request::new("GET", "/bucket?list-type=2&prefix=backups%2Fpacks%2F")));
        assert!(!may(role, &Request::new("GET", "/bucket?list-type=2&prefix=other%2F")));
        assert!(may(role, &Request::new("GET", "/bucket?versions&prefix=backups%2Fpacks%2Faa%2Fx")));
        assert!(!may(role, &Request::new("GET", "/bucket?versions")));
    }
}

#[test]
fn nobody_overwrites() {
    let plain = |name: &str| Request::new("PUT", &format!("/bucket/backups/{name}"));
    let copy =
        |name: &str| plain(name).with("x-amz-copy-source", &format!("bucket/backups/{name}?versionId=1"));
    let foreign = |name: &str| plain(name).with("x-amz-copy-source", "bucket/other/x");
    for role in Role::ALL {
        assert_eq!(allowed(role, plain), "", "{role:?}");
        assert_eq!(allowed(role, foreign), "", "{role:?}");
        let repairs = allowed(role, copy);
        // `repair versions` makes an older version the newest again.
        assert_eq!(repairs.is_empty(), role != Role::Admin, "{role:?}: {repairs}");
    }
    // The bucket's policy alone says so too, whatever a role is given.
    let everything = [Policy::everything()];
    let bucket = [filling().bucket_policy().unwrap()];
    let denied = |request: &Request, role: Role, secure: bool| {
        let principal = role_arn(role.name());
        s3::needs(request, b"").into_iter().any(|mut need| {
            need.context.insert("aws:principalarn".into(), vec![principal.clone()]);
            need.context.insert("aws:securetransport".into(), vec![secure.to_string()]);
            let (action, resource, context) = (&need.action, &need.resource, &need.context);
            let access = Access { principal: &principal, action, resource, context };
            matches!(decide(&everything, &bucket, &access), Verdict::Denied(_))
        })
    };
    for role in Role::ALL {
        assert!(denied(&plain("packs/aa/x"), role, true));
        assert!(!denied(&create("packs/aa/x"), role, true));
        assert!(denied(&create("packs/aa/x"), role, false), "plain HTTP");
        assert_eq!(denied(&copy("packs/aa/x"), role, true), role != Role::Admin);
        assert!(denied(&Request::new("DELETE", "/bucket/backups/journal/0"), role, true));
        assert!(denied(&Request::new("DELETE", "/bucket/backups/journal/0?versionId=1"), role, true));
        assert!(denied(&Request::new("DELETE", "/bucket/backups/config"), role, true));
        assert!(!denied(&Request::new("DELETE", "/bucket/backups/packs/aa/x"), role, true));
        // Multipart uploads cannot be made create-only, and nothing here needs them.
        assert!(denied(&Request::new("POST", "/bucket/backups/packs/aa/x?uploads"), role, true));
    }
}

#[test]
fn retention_can_be_asked_for_and_not_abused() {
    let lock = |name: &str, days: i64| {
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        create(name)
            .with("x-amz-object-lock-mode", "COMPLIANCE")
            .with("x-amz-object-lock-retain-until-date", &until.to_string())
    };
    assert_eq!(allowed(Role::Backup, |name| lock(name, 30)), "journal keys packs meta parity index wal");
    // `object-lock extend` lengthens the locks of all that counts.
    let extend = |name: &str| Request::new("PUT", &format!("/bucket/backups/{name}?retention"));
    let counts = "config journal checkpoints keys packs meta parity index wal";
    assert_eq!(allowed(Role::Prune, extend), counts);
    assert_eq!(allowed(Role::Backup, |name| lock(name, 4000)), "");
    for role in Role::ALL {
        let bypass = Request::new("DELETE", "/bucket/backups/packs/aa/x?versionId=1")
            .with("x-amz-bypass-governance-retention", "true");
        assert!(!may(role, &bypass));
    }
}

/// Whether a role may use the key so.
fn may_use(role: Role, operation: &str, purpose: &str, repository: &str, writer: &str) -> bool {
    let identity = [filling().policy(role).unwrap()];
    let context =
        json!({ "sr:repository": repository, "sr:purpose": purpose, "sr:key-id": "00", "sr:writer": writer });
    let body = json!({ "KeyId": KEY, "EncryptionContext": context, "SourceKeyId": KEY, "DestinationKeyId": KEY,
                       "SourceEncryptionContext": context, "DestinationEncryptionContext": context });
    let needs = kms::needs(operation, body.to_string().as_bytes(), ([127, 0, 0, 1], 1).into()).unwrap();
    needs.into_iter().all(|need| {
        let (action, resource, context) = (&need.action, &need.resource, &need.context);
        decide(&identity, &[], &Access { principal: "", action, resource, context }) == Verdict::Allowed
    })
}

#[test]
fn rights_on_keys_are_those_of_the_roles() {
    const PURPOSES: [&str; 6] = ["data", "metadata", "identity", "vault", "signing", "root"];
    let other = "0".repeat(32);
    for (role, operation, purposes) in [
        (Role::Backup, "GenerateDataKey", "data"),
        (Role::Backup, "Decrypt", "metadata identity signing"),
        (Role::Restore, "Decrypt", "data metadata identity vault signing"),
        (Role::Prune, "Decrypt", "metadata identity signing"),
        (Role::Audit, "Decrypt", "metadata identity signing"),
        (Role::Admin, "Decrypt", "data metadata identity vault signing root"),
        (Role::Admin, "Encrypt", "data metadata identity vault signing root"),
        (Role::Admin, "ReEncrypt", "data metadata identity vault signing root"),
        (Role::Restore, "GenerateDataKey", ""),
        (Role::Prune, "GenerateDataKey", ""),
        (Role::Audit, "GenerateDataKey", ""),
        (Role::Backup, "Encrypt", ""),
        (Role::Backup, "ReEncrypt", ""),
        (Role::Restore, "Encrypt", ""),
        (Role::Restore, "ReEncrypt", ""),
    ] {
        let may = |purpose: &&&str| may_use(role, operation, purpose, REPOSITORY, WRITER);
        let found: Vec<&str> = PURPOSES.iter().filter(may).copied().collect();
        assert_eq!(found.join(" "), purposes, "{role:?} {operation}");
        // Nothing of another repository.
        assert!(PURPOSES.iter().all(|purpose| !may_use(role, operation, purpose, &other, WRITER)));
        if role != Role::Admin {
            // Nor another's signing key, nor data keys in another's name.
            assert!(!may_use(role, operation, "signing", REPOSITORY, &other));
            assert!(!may_use(role, "GenerateDataKey", "data", REPOSITORY, &other));
        }
    }
}

#[test]
fn an_administrator_can_make_a_repository() {
    let mut filling = filling();
    filling.repository_id = "*".to_owned();
    let identity = [filling.policy(Role::Admin).unwrap()];
    let context = Context::from([("kms:encryptioncontext:sr:repository".to_owned(), vec!["0".repeat(32)])]);
    let access = Access { principal: "", action: "kms:Encrypt", resource: KEY, context: &context };
    assert_eq!(decide(&identity, &[], &access), Verdict::Allowed);
    let bare = Access { context: &Context::new(), ..access };
    assert_eq!(decide(&identity, &[], &bare), Verdict::NotAllowed);
}

#[test]
fn every_policy_is_understood() {
    for role in Role::ALL {
        filling().policy(role).unwrap_or_else(|error| panic!("{role:?}: {error:#}"));
        // What IAM takes inline, blanks apart.
        assert!(role.template().chars().filter(|c| !c.is_whitespace()).count() < 6144, "{role:?}");
    }
    filling().bucket_policy().unwrap();
    Policy::of_identity(&filling().fill(SSE_KMS).unwrap()).unwrap();
    assert!(filling().fill("${NOBODY}").is_err());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/iam");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    files.sort();
    let known = ["admin", "audit", "backup", "bucket-policy", "prune", "restore", "sse-kms"];
    assert_eq!(files, known.map(|name| format!("{name}.json")), "a policy that no test reads");
    assert!(BUCKET_POLICY.contains("${ADMIN_ROLE_ARN}"));
}

/// A server that does what it is told; what is called `missing` is not there.
fn obliging() -> Server {
    Server::start(None, |exchange| {
        let _read = exchange.body()?;
        let missing = exchange.request.target.contains("missing");
        let head = Response::new(if missing { 404 } else { 200 });
        exchange.answer(&Answer { head, body: b"done".to_vec() })
    })
    .unwrap()
}

fn client(proxy_address: SocketAddr, access_key: &str) -> AwsClient {
    AwsClient::new(proxy_address, Credentials::new(access_key, "secret"))
}

#[test]
fn callers_are_told_apart_and_decisions_recorded() {
    let server = obliging();
    let proxy = IamProxy::start(server.address(), server.address()).unwrap();
    proxy.grant("BACKUP", "backup", vec![filling().policy(Role::Backup).unwrap()]);
    proxy.set_bucket_policy("bucket", filling().bucket_policy().unwrap());
    let backup = client(proxy.s3_address(), "BACKUP");
    assert_eq!(backup.get("bucket", "backups/packs/aa/x").unwrap(), b"done");
    let target = "/bucket/backups/packs/aa/x";
    let denied = backup.s3("DELETE", target, &[], b"").unwrap();
    refused(&denied, 403, "<Code>AccessDenied</Code>").unwrap();
    refused(&denied, 403, "s3:DeleteObject on resource: arn:aws:s3:::bucket/backups/packs/aa/x").unwrap();
    let overwritten = backup.s3("PUT", target, &[], b"x").unwrap();
    refused(&overwritten, 403, "with an explicit deny").unwrap();
    assert_eq!(backup.s3("PUT", target, &[("If-None-Match", "*")], b"x").unwrap().head.status, 200);
    let around = backup.s3("PUT", target, &[("If-None-Match", "\"another\"")], b"x").unwrap();
    refused(&around, 501, "NotImplemented").unwrap();
    let stranger = client(proxy.s3_address(), "STRANGER").s3("GET", target, &[], b"").unwrap();
    refused(&stranger, 403, "AccessDenied").unwrap();
    let nobody = send(proxy.s3_address(), &Request::new("GET", target), b"").unwrap();
    refused(&nobody, 403, "AccessDenied").unwrap();
    let decisions = proxy.decisions();
    let said: Vec<(&str, &str, bool)> = decisions
        .iter()
        .map(|decision| (decision.role.as_str(), decision.action.as_str(), decision.allowed()))
        .collect();
    assert_eq!(
        said,
        [
            ("backup", "s3:GetObject", true),
            ("backup", "s3:DeleteObject", false),
            ("backup", "s3:PutObject", false),
            ("backup", "s3:PutObject", true),
            ("backup", "s3:PutObject", true),
            ("", "s3:GetObject", false),
            ("", "s3:GetObject", false),
        ]
    );
    proxy.set_insecure(true);
    assert!(backup.get("bucket", "backups/packs/aa/x").unwrap_err().to_string().contains("403"));
}

#[test]
fn who_may_not_list_is_not_told_what_is_missing() {
    let server = obliging();
    let proxy = IamProxy::start(server.address(), server.address()).unwrap();
    proxy.grant("BACKUP", "backup", vec![filling().policy(Role::Backup).unwrap()]);
    let only_get = json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "A", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }] });
    proxy.grant("BLIND", "blind", vec![Policy::of_identity(&only_get.to_string()).unwrap()]);
    let status = |who: &str, method: &str, name: &str| {
        let target = format!("/bucket/backups/{name}");
        client(proxy.s3_address(), who).s3(method, &target, &[], b"").unwrap().head.status
    };
    assert_eq!(status("BACKUP", "GET", "missing"), 404);
    assert_eq!(status("BLIND", "GET", "missing"), 403);
    assert_eq!(status("BLIND", "HEAD", "missing"), 403);
    assert_eq!(status("BLIND", "GET", "config"), 200);
}

#[test]
fn keys_are_refused_in_the_words_of_kms() {
    let server = obliging();
    let proxy = IamProxy::start(server.address(), server.address()).unwrap();
    proxy.grant("BACKUP", "backup", vec![filling().policy(Role::Backup).unwrap()]);
    let backup = client(proxy.kms_address(), "BACKUP");
    let use_key = |operation: &str, purpose: &str| {
        let context = json!({ "sr:repository": REPOSITORY, "sr:purpose": purpose, "sr:writer": WRITER });
        backup.kms(operation, &json!({ "KeyId": KEY, "EncryptionContext": context })).unwrap()
    };
    assert_eq!(use_key("GenerateDataKey", "data").text(), "done");
    assert_eq!(use_key("Decrypt", "metadata").text(), "done");
    let denied = use_key("Decrypt", "vault");
    refused(&denied, 400, "AccessDeniedException").unwrap();
    refused(&denied, 400, &format!("is not authorized to perform: kms:Decrypt on resource: {KEY}")).unwrap();
    // Whoever does not say which key is refused.
    let anonymous = backup.kms("Decrypt", &json!({ "EncryptionContext": {} })).unwrap();
    refused(&anonymous, 400, "AccessDeniedException").unwrap();
    let last =
        proxy.decisions().into_iter().rfind(|decision| decision.encryption_context("sr:purpose").is_some());
    let last = last.unwrap();
    assert_eq!((last.encryption_context("sr:purpose"), last.allowed()), (Some("vault"), false));

    proxy.fail_kms(KmsFault::Throttling, 2);
    refused(&use_key("Decrypt", "metadata"), 400, "ThrottlingException").unwrap();
    refused(&use_key("Decrypt", "vault"), 400, "AccessDeniedException").unwrap();
    refused(&use_key("Decrypt", "metadata"), 400, "ThrottlingException").unwrap();
    assert_eq!(use_key("Decrypt", "metadata").text(), "done");
    proxy.fail_kms(KmsFault::Disabled, u32::MAX);
    refused(&use_key("Decrypt", "metadata"), 400, "DisabledException").unwrap();
    proxy.fail_kms(KmsFault::PendingDeletion, u32::MAX);
    refused(&use_key("Decrypt", "metadata"), 400, "KMSInvalidStateException").unwrap();
    proxy.heal_kms();
    proxy.stop_kms();
    assert!(backup.kms("Decrypt", &json!({})).is_err());
    proxy.resume_kms().unwrap();
    assert_eq!(use_key("Decrypt", "metadata").text(), "done");
}
