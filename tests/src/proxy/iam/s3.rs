//! Requests of S3, path style, as IAM sees them ("Actions, resources, and condition keys for Amazon S3").

use jiff::Timestamp;

use super::policy::Context;
use crate::http::message::{Request, Response};
use crate::http::{Answer, percent_decoded, xml_escaped};

/// One right that a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) context: Context,
}

/// The bucket and the key of a request.
pub(super) fn place(request: &Request) -> (String, String) {
    let path = request.path();
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.to_owned(), key.to_owned())
}

/// Whether the rights that the request needs are in its body.
pub(super) fn needs_body(request: &Request) -> bool {
    request.parameter("delete").is_some() || request.parameter("retention").is_some()
}

/// All the rights that a request needs. A request that is not known needs one that nobody has.
pub(super) fn needs(request: &Request, body: &[u8]) -> Vec<Need> {
    let (bucket, key) = place(request);
    let query = request.query();
    let asks = |name: &str| query.iter().any(|(other, _)| other == name);
    let method = request.method.as_str();
    let of_bucket = |action: &str| Need {
        action: format!("s3:{action}"),
        resource: if bucket.is_empty() { "*".to_owned() } else { format!("arn:aws:s3:::{bucket}") },
        context: query
            .iter()
            .filter(|(name, _)| name == "prefix")
            .map(|(_, prefix)| ("s3:prefix".to_owned(), vec![prefix.clone()]))
            .collect(),
    };
    let of_object = |action: &str, key: &str| Need {
        action: format!("s3:{action}"),
        resource: format!("arn:aws:s3:::{bucket}/{key}"),
        context: context_of_put(request, body),
    };
    let of_version = if asks("versionId") { "Version" } else { "" };
    if key.is_empty() {
        if method == "POST" && asks("delete") {
            return deleted_keys(body).iter().map(|key| of_object("DeleteObject", key)).collect();
        }
        return vec![of_bucket(match method {
            "GET" if bucket.is_empty() => "ListAllMyBuckets",
            "GET" if asks("versions") => "ListBucketVersions",
            "GET" if asks("uploads") => "ListBucketMultipartUploads",
            "GET" if asks("location") => "GetBucketLocation",
            "GET" if asks("versioning") => "GetBucketVersioning",
            "GET" if asks("object-lock") => "GetBucketObjectLockConfiguration",
            "GET" if asks("policy") => "GetBucketPolicy",
            "GET" | "HEAD" if only(&query, &LISTING) => "ListBucket",
            "PUT" if query.is_empty() => "CreateBucket",
            "PUT" if asks("policy") => "PutBucketPolicy",
            "PUT" if asks("versioning") => "PutBucketVersioning",
            "PUT" if asks("lifecycle") => "PutLifecycleConfiguration",
            "PUT" if asks("object-lock") => "PutBucketObjectLockConfiguration",
            "DELETE" if query.is_empty() => "DeleteBucket",
            "DELETE" if asks("policy") => "DeleteBucketPolicy",
            _ => "Unknown",
        })];
    }
    match method {
        "GET" if asks("retention") => vec![of_object("GetObjectRetention", &key)],
        "PUT" if asks("retention") => {
            let mut needs = vec![of_object("PutObjectRetention", &key)];
            let bypass = request.headers.first("x-amz-bypass-governance-retention");
            if bypass.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                needs.push(of_object("BypassGovernanceRetention", &key));
            }
            needs
        }
        "GET" if asks("legal-hold") => vec![of_object("GetObjectLegalHold", &key)],
        "PUT" if asks("legal-hold") => vec![of_object("PutObjectLegalHold", &key)],
        "GET" if asks("tagging") => vec![of_object(&format!("GetObject{of_version}Tagging"), &key)],
        "PUT" if asks("tagging") => vec![of_object(&format!("PutObject{of_version}Tagging"), &key)],
        "GET" if asks("acl") => vec![of_object(&format!("GetObject{of_version}Acl"), &key)],
        "PUT" if asks("acl") => vec![of_object(&format!("PutObject{of_version}Acl"), &key)],
        "POST" if asks("restore") => vec![of_object("RestoreObject", &key)],
        "GET" | "HEAD" => vec![of_object(&format!("GetObject{of_version}"), &key)],
        "PUT" => put_needs(request, of_object("PutObject", &key), |action| of_object(action, &key)),
        "POST" if asks("uploads") || asks("uploadId") => vec![of_object("PutObject", &key)],
        "DELETE" if asks("uploadId") => vec![of_object("AbortMultipartUpload", &key)],
        "DELETE" => {
            let mut needs = vec![of_object(&format!("DeleteObject{of_version}"), &key)];
            let bypass = request.headers.first("x-amz-bypass-governance-retention");
            if bypass.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
                needs.push(of_object("BypassGovernanceRetention", &key));
            }
            needs
        }
        _ => vec![of_object("Unknown", &key)],
    }
}

/// The right to list the bucket that decides whether a missing object is said to be missing. It is asked for without
/// any prefix.
pub(super) fn need_to_miss(request: &Request) -> Need {
    let (bucket, _) = place(request);
    Need {
        action: "s3:ListBucket".to_owned(),
        resource: format!("arn:aws:s3:::{bucket}"),
        context: Context::new(),
    }
}

/// What a listing may ask for beside.
const LISTING: [&str; 9] = [
    "list-type",
    "prefix",
    "delimiter",
    "max-keys",
    "marker",
    "start-after",
    "continuation-token",
    "encoding-type",
    "fetch-owner",
];

fn only(query: &[(String, String)], known: &[&str]) -> bool {
    query.iter().all(|(name, _)| known.contains(&name.as_str()) || name == "x-id")
}

fn put_needs(request: &Request, put: Need, with: impl Fn(&str) -> Need) -> Vec<Need> {
    let mut needs = vec![put];
    let has = |name: &str| request.headers.first(name).is_some();
    if let Some(source) = request.headers.first("x-amz-copy-source") {
        let source = percent_decoded(source);
        let (path, version) = source.split_once('?').unwrap_or((&source, ""));
        let action = if version.is_empty() { "s3:GetObject" } else { "s3:GetObjectVersion" };
        needs.push(Need {
            action: action.to_owned(),
            resource: format!("arn:aws:s3:::{}", path.trim_start_matches('/')),
            context: Context::new(),
        });
    }
    if has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date") {
        needs.push(with("PutObjectRetention"));
    }
    if has("x-amz-object-lock-legal-hold") {
        needs.push(with("PutObjectLegalHold"));
    }
    if has("x-amz-tagging") {
        needs.push(with("PutObjectTagging"));
    }
    if has("x-amz-acl")
        || request.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("x-amz-grant-"))
    {
        needs.push(with("PutObjectAcl"));
    }
    needs
}

fn context_of_put(request: &Request, body: &[u8]) -> Context {
    let mut context = Context::new();
    for (header, key) in [
        ("if-none-match", "s3:if-none-match"),
        ("x-amz-copy-source", "s3:x-amz-copy-source"),
        ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    ] {
        if let Some(value) = request.headers.first(header) {
            context.insert(key.to_owned(), vec![percent_decoded(value)]);
        }
    }
    let body = String::from_utf8_lossy(body);
    let in_body = body.split_once("<RetainUntilDate>").and_then(|(_, rest)| rest.split_once('<'));
    let until =
        request.headers.first("x-amz-object-lock-retain-until-date").or(in_body.map(|(date, _)| date));
    if let Some(until) = until.and_then(|date| date.trim().parse::<Timestamp>().ok()) {
        // Begun days count as whole ones.
        let days = until.duration_since(Timestamp::now()).as_secs().div_euclid(24 * 60 * 60) + 1;
        context.insert("s3:object-lock-remaining-retention-days".to_owned(), vec![days.to_string()]);
    }
    context
}

fn deleted_keys(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let keys = text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0));
    let plain = |key: &str| {
        key.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
    };
    keys.map(plain).collect()
}

/// A refusal as S3 gives it.
pub(super) fn refusal(message: &str) -> Answer {
    answer(403, "AccessDenied", message)
}

/// What S3 says to a condition that it does not know.
pub(super) fn not_implemented() -> Answer {
    answer(501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
}

fn answer(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>iam</RequestId><HostId>proxy</HostId></Error>",
        xml_escaped(message)
    );
    Answer { head: Response::new(status).with("Content-Type", "application/xml"), body: body.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(request: &Request) -> Vec<String> {
        let needs = needs(request, b"<Delete><Object><Key>p/a&amp;b</Key></Object></Delete>");
        needs
            .into_iter()
            .map(|need| format!("{} {}", need.action, need.resource.trim_start_matches("arn:aws:s3:::")))
            .collect()
    }

    #[test]
    fn requests_need_their_rights() {
        for (method, target, expected) in [
            ("GET", "/b/p/k%20x", "s3:GetObject b/p/k x"),
            ("HEAD", "/b/p/k", "s3:GetObject b/p/k"),
            ("GET", "/b/p/k?versionId=1", "s3:GetObjectVersion b/p/k"),
            ("GET", "/b?list-type=2&prefix=p%2F&x-id=ListObjectsV2", "s3:ListBucket b"),
            ("GET", "/b/?list-type=2", "s3:ListBucket b"),
            ("HEAD", "/b", "s3:ListBucket b"),
            ("GET", "/b?versions", "s3:ListBucketVersions b"),
            ("GET", "/b?website", "s3:Unknown b"),
            ("PUT", "/b/k", "s3:PutObject b/k"),
            ("PUT", "/b/k?partNumber=1&uploadId=2", "s3:PutObject b/k"),
            ("POST", "/b/k?uploads", "s3:PutObject b/k"),
            ("PUT", "/b/k?retention", "s3:PutObjectRetention b/k"),
            ("PUT", "/b?policy", "s3:PutBucketPolicy b"),
            ("DELETE", "/b/k", "s3:DeleteObject b/k"),
            ("DELETE", "/b/k?versionId=1", "s3:DeleteObjectVersion b/k"),
            ("POST", "/b?delete", "s3:DeleteObject b/p/a&b"),
            ("PATCH", "/b/k", "s3:Unknown b/k"),
        ] {
            assert_eq!(actions(&Request::new(method, target)), [expected], "{method} {target}");
        }
        let copy = Request::new("PUT", "/b/k").with("x-amz-copy-source", "b/k?versionId=1");
        assert_eq!(actions(&copy), ["s3:PutObject b/k", "s3:GetObjectVersion b/k"]);
        let locked = Request::new("PUT", "/b/k").with("x-amz-object-lock-mode", "COMPLIANCE");
        assert_eq!(actions(&locked), ["s3:PutObject b/k", "s3:PutObjectRetention b/k"]);
        let forced = Request::new("DELETE", "/b/k").with("x-amz-bypass-governance-retention", "true");
        assert_eq!(actions(&forced), ["s3:DeleteObject b/k", "s3:BypassGovernanceRetention b/k"]);
    }

    #[test]
    fn conditions_see_the_request() {
        let context = |request: &Request, body: &str| needs(request, body.as_bytes())[0].context.clone();
        let listing = context(&Request::new("GET", "/b?list-type=2&prefix=p%2F"), "");
        assert_eq!(listing["s3:prefix"], ["p/"]);
        assert!(context(&Request::new("GET", "/b?list-type=2"), "").is_empty());
        let put = context(&Request::new("PUT", "/b/k").with("If-None-Match", "*"), "");
        assert_eq!(put["s3:if-none-match"], ["*"]);
        let in_ten_days = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 10 - 1);
        let retention = format!("<RetainUntilDate>{in_ten_days}</RetainUntilDate>");
        let retained = context(&Request::new("PUT", "/b/k?retention"), &retention);
        assert_eq!(retained["s3:object-lock-remaining-retention-days"], ["10"]);
    }
}
