//! Requests of KMS as IAM sees them ("Actions, resources, and condition keys for AWS Key Management Service").

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::policy::Context;
use super::s3::Need;
use crate::http::Answer;
use crate::http::message::{Request, Response};
use crate::services::aws::AwsClient;
use crate::services::moto::credentials;

/// What KMS says when it does not do as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsFault {
    /// Too many requests.
    Throttling,
    /// The key is disabled.
    Disabled,
    /// The key is about to be deleted.
    PendingDeletion,
    /// KMS itself has trouble.
    Internal,
}

impl KmsFault {
    pub(super) fn answer(self, key: &str) -> Answer {
        let (status, code, message) = match self {
            Self::Throttling => (400, "ThrottlingException", "Rate exceeded".to_owned()),
            Self::Disabled => (400, "DisabledException", format!("{key} is disabled.")),
            Self::PendingDeletion => (400, "KMSInvalidStateException", format!("{key} is pending deletion.")),
            Self::Internal => (500, "KMSInternalException", "Internal failure".to_owned()),
        };
        answer(status, code, &message)
    }
}

/// `Decrypt`, ... of a request; none when it is not of KMS.
pub(super) fn operation(request: &Request) -> Option<&str> {
    request.headers.first("x-amz-target")?.strip_prefix("TrentService.")
}

/// All the rights that a request needs, or the key that could not be found in the server.
pub(super) fn needs(operation: &str, body: &[u8], server: SocketAddr) -> Result<Vec<Need>, String> {
    let arguments: Value = serde_json::from_slice(body).unwrap_or_default();
    let need = |action: &str, key: &str, context: &str| -> Result<Need, String> {
        Ok(Need {
            action: format!("kms:{action}"),
            resource: key_arn(&arguments[key], server)?,
            context: context_of(&arguments[context]),
        })
    };
    match operation {
        "ReEncrypt" => Ok(vec![
            need("ReEncryptFrom", "SourceKeyId", "SourceEncryptionContext")?,
            need("ReEncryptTo", "DestinationKeyId", "DestinationEncryptionContext")?,
        ]),
        "CreateKey" | "ListKeys" | "ListAliases" | "GenerateRandom" => Ok(vec![Need {
            action: format!("kms:{operation}"),
            resource: "*".to_owned(),
            context: Context::new(),
        }]),
        "CreateAlias" | "UpdateAlias" => Ok(vec![need(operation, "TargetKeyId", "")?]),
        _ => Ok(vec![need(operation, "KeyId", "EncryptionContext")?]),
    }
}

/// The ARN of the key that an argument names: rights are on keys, not on their aliases. A request that names none
/// needs a right on no key, which nobody has: whoever does not say which key opens what was sealed takes any.
fn key_arn(key: &Value, server: SocketAddr) -> Result<String, String> {
    let Some(key) = key.as_str() else { return Ok(String::new()) };
    if key.contains(":key/") {
        return Ok(key.to_owned());
    }
    let client = AwsClient::new(server, credentials("iam"));
    let described = client.kms("DescribeKey", &json!({ "KeyId": key }));
    let described: Option<Value> =
        described.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let arn = described.and_then(|said| Some(said["KeyMetadata"]["Arn"].as_str()?.to_owned()));
    arn.ok_or_else(|| key.to_owned())
}

fn context_of(pairs: &Value) -> Context {
    let mut context = Context::new();
    let mut keys = Vec::new();
    for (key, value) in pairs.as_object().into_iter().flatten() {
        keys.push(key.clone());
        let value = value.as_str().unwrap_or_default().to_owned();
        context.insert(format!("kms:encryptioncontext:{}", key.to_lowercase()), vec![value]);
    }
    if !keys.is_empty() {
        context.insert("kms:encryptioncontextkeys".to_owned(), keys);
    }
    context
}

/// A refusal as KMS gives it.
pub(super) fn refusal(message: &str) -> Answer {
    answer(400, "AccessDeniedException", message)
}

fn answer(status: u16, code: &str, message: &str) -> Answer {
    let head = Response::new(status).with("Content-Type", "application/x-amz-json-1.1");
    let body = json!({ "__type": code, "message": message }).to_string();
    Answer { head: head.with("x-amzn-RequestId", "iam"), body: body.into_bytes() }
}
