//! The store: nothing there is replaced or deleted by a host that backs up.

use std::collections::BTreeSet;

use strongroom_tests::services::aws::{object, refused};

use super::Way;
use super::estate::{Estate, PREFIX};
use super::fixtures::dump;
use super::thief::CREATE_ONLY;

/// Every kind of object, the newest entry and checkpoint among them, against every request that replaces or deletes.
pub fn nothing_is_overwritten_or_deleted(way: Way) {
    let Some(estate) = Estate::new(way, "overwriting") else { return };
    let _ = estate.db1.backup("a", &dump(1));
    let _ = estate.db2.backup("b", &dump(2));
    estate.write_checkpoint();
    let before = estate.objects();
    let kinds: BTreeSet<&str> = before.iter().map(|(key, _)| kind(key)).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["checkpoints", "config", "index", "journal", "keys", "meta", "packs"]
    );
    let s3 = &estate.thief().s3;
    let bucket = &estate.bucket;
    for (key, _) in &before {
        let target = object(bucket, key);
        let source = format!("{bucket}/{key}");
        let other = format!("{bucket}/{PREFIX}config");
        for (method, query, headers) in [
            ("PUT", "", &[][..]),
            ("PUT", "", &[("x-amz-copy-source", &source[..])]),
            ("PUT", "", &[("x-amz-copy-source", &other[..])]),
            ("PUT", "?acl", &[]),
            ("PUT", "?partNumber=1&uploadId=2", &[]),
            ("POST", "?uploads", &[]),
            ("DELETE", "", &[]),
            ("DELETE", "?versionId=null", &[]),
        ] {
            let answer = s3.s3(method, &format!("{target}{query}"), headers, b"other").unwrap();
            refused(&answer, 403, "AccessDenied").unwrap();
        }
        let around = s3.s3("PUT", &target, &[("If-None-Match", "\"another\"")], b"other").unwrap();
        assert!([403, 501].contains(&around.head.status), "{key}: {}", around.text());
        let again = s3.s3("PUT", &target, &CREATE_ONLY, b"other").unwrap();
        // Nor may it create these at all.
        let never = ["config", "checkpoints"].contains(&kind(key));
        assert_eq!(again.head.status, if never { 403 } else { 412 }, "{key}: {}", again.text());
        let many = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        let deleted = s3.s3("POST", &format!("/{bucket}?delete"), &[], many.as_bytes()).unwrap();
        refused(&deleted, 403, "AccessDenied").unwrap();
    }
    for (method, query) in [
        ("PUT", "?policy"),
        ("DELETE", "?policy"),
        ("PUT", "?lifecycle"),
        ("PUT", "?versioning"),
        ("PUT", "?object-lock"),
        ("DELETE", ""),
    ] {
        let answer = s3.s3(method, &format!("/{bucket}{query}"), &[], b"").unwrap();
        refused(&answer, 403, "AccessDenied").unwrap();
    }
    assert!(estate.objects() == before, "something was changed");
    estate.db2.assert_clean();
}

fn kind(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap().split('/').next().unwrap()
}
