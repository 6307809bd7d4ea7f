//! What to do next when a bucket could not be read or restored.

use strongroom_engines::s3::S3Error;
use strongroom_store::aws::FailureKind;

pub(crate) fn hint(error: &S3Error) -> Option<&'static str> {
    Some(match error {
        S3Error::Request { kind, .. } => return request_hint(error, kind),
        S3Error::InTheWay { .. } => {
            "choose another bucket or prefix, or say --drop-existing: then afterwards there is what the snapshot has, and nothing else"
        }
        S3Error::Listing { .. } => "run it again; if it stays so, the service does not list as S3 does",
        S3Error::NothingReadable { .. } => {
            "give the role s3:GetObject (docs/engines/s3.md has a list of the rights), and the key of what encrypts the objects"
        }
        S3Error::Repository { .. } => "choose another bucket or prefix",
        S3Error::Partial { .. } => {
            "run it again with --drop-existing: what is there already is left, and the rest is written"
        }
        _ => return None,
    })
}

fn request_hint(error: &S3Error, kind: &FailureKind) -> Option<&'static str> {
    Some(match (kind, error.code()) {
        (_, Some("NoSuchBucket")) => {
            "is the bucket's name right, and --s3-endpoint? a restore makes no bucket"
        }
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken"))
        | (FailureKind::NoCredentials, _) => {
            "give the bucket's key: STRONGROOM_S3_ACCESS_KEY_ID and STRONGROOM_S3_SECRET_ACCESS_KEY, --s3-profile, or as AWS's tools know it"
        }
        (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed")) => {
            "name the bucket's region with --s3-region"
        }
        _ if error.is_denied() => "give the role the right to it (docs/engines/s3.md has a list)",
        (FailureKind::NotConnected, _) => {
            "is the service up, and is --s3-endpoint right? (--endpoint is where the repository lies)"
        }
        (FailureKind::Untrusted, _) => "--ca-file names the certificates to trust",
        _ => return None,
    })
}
