//! A client of S3, KMS and STS that does only what it is told: the requests that an attacker's hands would send, and
//! those that set a test up. Signature Version 4 (AWS's "Signature Version 4 for API requests"), path style.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::http::message::Request;
use crate::http::{Answer, percent_decoded, percent_encoded, send};

/// The region of everything that tests start.
pub const REGION: &str = "us-east-1";

/// Who somebody is to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key.
    pub access_key: String,
    /// Signs.
    pub secret_key: String,
    /// Of temporary credentials.
    pub session_token: Option<String>,
}

impl Credentials {
    /// That last.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), session_token: None }
    }

    /// The variables by which the AWS SDKs and the command line are told of them; the region too.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", REGION.to_owned()),
        ];
        variables.extend(self.session_token.clone().map(|token| ("AWS_SESSION_TOKEN", token)));
        variables
    }
}

/// A server of AWS's interfaces, as seen by one caller.
#[derive(Debug, Clone)]
pub struct AwsClient {
    address: SocketAddr,
    credentials: Credentials,
}

impl AwsClient {
    /// Of the server at that address.
    #[must_use]
    pub fn new(address: SocketAddr, credentials: Credentials) -> Self {
        Self { address, credentials }
    }

    /// Of the server at that URL, `http://127.0.0.1:PORT`.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn at(endpoint: &str, credentials: Credentials) -> Result<Self> {
        let address = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok());
        Ok(Self::new(address.with_context(|| format!("{endpoint} is no http://ADDRESS:PORT"))?, credentials))
    }

    /// Any S3 request: `target` is path and query, encoded (see [`percent_encoded`]).
    ///
    /// # Errors
    /// When no answer comes; one that says no is an answer.
    pub fn s3(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = Request::new(method, target);
        for (name, value) in headers {
            request.headers.add(name, value);
        }
        self.signed("s3", request, body)
    }

    /// Any KMS request: `operation` is `Decrypt`, `CreateKey`, ...
    ///
    /// # Errors
    /// When no answer comes; one that says no is an answer.
    pub fn kms(&self, operation: &str, arguments: &Value) -> Result<Answer> {
        let request = Request::new("POST", "/")
            .with("Content-Type", "application/x-amz-json-1.1")
            .with("X-Amz-Target", &format!("TrentService.{operation}"));
        self.signed("kms", request, arguments.to_string().as_bytes())
    }

    /// A new symmetric KMS key; its ARN.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_key(&self, description: &str) -> Result<String> {
        let answer = self.kms("CreateKey", &serde_json::json!({ "Description": description }))?;
        let said: Value = serde_json::from_slice(&accepted(answer)?.body).context("KMS answered no JSON")?;
        let arn = said["KeyMetadata"]["Arn"].as_str();
        Ok(arn.context("KMS named no ARN")?.to_owned())
    }

    /// A new name (`alias/NAME`) of a KMS key.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_alias(&self, alias: &str, key: &str) -> Result<()> {
        let arguments = serde_json::json!({ "AliasName": alias, "TargetKeyId": key });
        accepted(self.kms("CreateAlias", &arguments)?).map(drop)
    }

    /// A new bucket.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        accepted(self.s3("PUT", &format!("/{bucket}"), &[], b"")?).map(drop)
    }

    /// A new bucket that keeps versions and can lock them.
    ///
    /// # Errors
    /// When the server says no.
    pub fn create_locking_bucket(&self, bucket: &str) -> Result<()> {
        let lock = [("x-amz-bucket-object-lock-enabled", "true")];
        accepted(self.s3("PUT", &format!("/{bucket}"), &lock, b"")?).map(drop)
    }

    /// The object of that key.
    ///
    /// # Errors
    /// When the server says no.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        Ok(accepted(self.s3("GET", &object(bucket, key), &[], b"")?)?.body)
    }

    /// Creates or replaces the object of that key.
    ///
    /// # Errors
    /// When the server says no.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<()> {
        accepted(self.s3("PUT", &object(bucket, key), &[], body)?).map(drop)
    }

    /// Deletes the object of that key.
    ///
    /// # Errors
    /// When the server says no.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        accepted(self.s3("DELETE", &object(bucket, key), &[], b"")?).map(drop)
    }

    /// All keys that begin with a prefix, in order.
    ///
    /// # Errors
    /// When the server says no.
    pub fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut after = String::new();
        loop {
            let prefix = percent_encoded(prefix, true);
            let start = percent_encoded(&after, true);
            let target =
                format!("/{bucket}?encoding-type=url&list-type=2&prefix={prefix}&start-after={start}");
            let text = accepted(self.s3("GET", &target, &[], b"")?)?.text();
            let found = text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0));
            // As in a form: a blank is a plus.
            keys.extend(found.map(|key| percent_decoded(&key.replace('+', " "))));
            match keys.last() {
                Some(last) if text.contains("<IsTruncated>true") && *last != after => after.clone_from(last),
                _ => return Ok(keys),
            }
        }
    }

    /// Credentials of somebody whom the server tells apart from these: `AssumeRole` of STS.
    ///
    /// # Errors
    /// When the server has no STS, or says no.
    pub fn assume_role(&self, name: &str) -> Result<Credentials> {
        let request = Request::new("POST", "/")
            .with("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600&RoleSessionName={name}\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2F{name}"
        );
        let answer = accepted(self.signed("sts", request, form.as_bytes())?)?;
        let part = |tag: &str| answer.xml(tag).with_context(|| format!("STS gave no {tag}"));
        Ok(Credentials {
            access_key: part("AccessKeyId")?,
            secret_key: part("SecretAccessKey")?,
            session_token: Some(part("SessionToken")?),
        })
    }

    fn signed(&self, service: &str, request: Request, body: &[u8]) -> Result<Answer> {
        let mut request = request;
        request.headers.set("Host", &self.address.to_string());
        let at = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        sign(&mut request, body, service, &at, &self.credentials);
        send(self.address, &request, body).with_context(|| {
            format!("{} {} at {} has no answer", request.method, request.target, self.address)
        })
    }
}

/// The path of an object, path style.
#[must_use]
pub fn object(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", percent_encoded(key, false))
}

/// The answer, unless it says no.
///
/// # Errors
/// When it does; the error quotes it.
pub fn accepted(answer: Answer) -> Result<Answer> {
    let status = answer.head.status;
    ensure!((200..300).contains(&status), "the server answered {status}: {}", answer.text());
    Ok(answer)
}

/// That the answer is a refusal of that status whose body has those words.
///
/// # Errors
/// When it is not.
pub fn refused(answer: &Answer, status: u16, words: &str) -> Result<()> {
    let text = answer.text();
    if answer.head.status != status || !text.contains(words) {
        bail!("not refused with {status} and {words:?}, but answered {}: {text}", answer.head.status);
    }
    Ok(())
}

/// Adds what a signed request has. `at` is `20150830T123600Z`.
fn sign(request: &mut Request, body: &[u8], service: &str, at: &str, credentials: &Credentials) {
    let hash = hex::encode(Sha256::digest(body));
    request.headers.set("X-Amz-Date", at);
    if service == "s3" {
        request.headers.set("X-Amz-Content-Sha256", &hash);
    }
    if let Some(token) = &credentials.session_token {
        request.headers.set("X-Amz-Security-Token", token);
    }
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let mut query: Vec<String> = request
        .query()
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name, true), percent_encoded(value, true)))
        .collect();
    query.sort();
    let (method, path, query) = (&request.method, request.raw_path(), query.join("&"));
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
    let day = at.get(..8).unwrap_or_default();
    let scope = format!("{day}/{REGION}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", credentials.secret_key).into_bytes();
    for part in [day, REGION, service, "aws4_request"] {
        key = hmac_sha256(&key, part.as_bytes());
    }
    let signature = hex::encode(hmac_sha256(&key, to_sign.as_bytes()));
    let access_key = &credentials.access_key;
    request.headers.set(
        "Authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    );
}

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example `get-vanilla-query-order-key-case` of AWS's test suite for signatures.
    #[test]
    fn the_signature_is_that_of_the_test_suite() {
        let mut request =
            Request::new("GET", "/?Param2=value2&Param1=value1").with("Host", "example.amazonaws.com");
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        sign(&mut request, b"", "service", "20150830T123600Z", &credentials);
        let authorization = request.headers.first("authorization").unwrap();
        assert!(
            authorization
                .ends_with("Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
            "{authorization}"
        );
    }

    #[test]
    fn endpoints_are_read() {
        let anybody = Credentials::new("a", "b");
        assert!(AwsClient::at("http://127.0.0.1:9000", anybody.clone()).is_ok());
        assert!(AwsClient::at("https://127.0.0.1:9000", anybody).is_err());
        assert_eq!(object("b", "a/ü x"), "/b/a/%C3%BC%20x");
    }
}
