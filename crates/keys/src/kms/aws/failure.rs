//! What an error of the SDK means.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use super::Place;
use crate::kms::KmsTrouble;
use crate::kms::retry::{Again, Failure};

impl From<KmsTrouble> for Failure {
    /// For what another attempt would not change.
    fn from(trouble: KmsTrouble) -> Self {
        Self { trouble, again: Again::Never, words: String::new() }
    }
}

/// What went wrong before anything was sent.
pub(super) fn setup(error: &(dyn Error + 'static)) -> KmsTrouble {
    KmsTrouble::Setup { reason: chain(error) }
}

/// Sorts an error of a call.
pub(super) fn of<E>(error: &SdkError<E>, place: &Place) -> Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let SdkError::ServiceError(answer) = error
        && let Some(code) = answer.err().code()
    {
        let words = answer.err().message().unwrap_or_default();
        return said(code, words, status.unwrap_or_default(), place);
    }
    if let Some(credentials) = find::<CredentialsError>(error) {
        return no_credentials(credentials);
    }
    let reason = match (error, error.source()) {
        (SdkError::TimeoutError(_), _) => "no answer in time".to_owned(),
        (_, Some(cause)) => chain(cause),
        (_, None) => error.to_string(),
    };
    if let SdkError::ConstructionFailure(_) = error {
        return KmsTrouble::Setup { reason }.into();
    }
    match status {
        // Of something in between, perhaps: it does not speak as KMS does.
        Some(status @ (429 | 500..)) => {
            let reason = format!("the answer is HTTP status {status}");
            Failure { trouble: KmsTrouble::Other { reason }, again: Again::WhenServed, words: String::new() }
        }
        Some(status @ 300..) => {
            let reason = format!("the answer is HTTP status {status}, and none of AWS KMS");
            KmsTrouble::Other { reason }.into()
        }
        _ => {
            let trouble = KmsTrouble::Unreachable { endpoint: place.endpoint.clone(), reason };
            Failure { trouble, again: Again::WhenReached, words: String::new() }
        }
    }
}

/// Sorts an error that the service answered with (the API reference's "Common Errors", and each action's).
fn said(code: &str, words: &str, status: u16, place: &Place) -> Failure {
    let spoken = || if words.is_empty() { code.to_owned() } else { format!("{code}: {words}") };
    let other = || KmsTrouble::Other { reason: spoken() };
    let credentials = |what: &str| KmsTrouble::Credentials { reason: format!("{what} ({})", spoken()) };
    let (trouble, again) = match code {
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => {
            (KmsTrouble::AccessDenied, Again::Never)
        }
        "NotFoundException" => (KmsTrouble::NoSuchKey { region: place.region.clone() }, Again::Never),
        "DisabledException" => (KmsTrouble::Disabled, Again::Never),
        "KMSInvalidStateException" => (invalid_state(words), Again::Never),
        "InvalidKeyUsageException" => (KmsTrouble::Unusable { reason: spoken() }, Again::Never),
        "InvalidCiphertextException" | "IncorrectKeyException" => (KmsTrouble::WrongBlob, Again::Never),
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TooManyRequestsException" => (KmsTrouble::Throttled { attempts: 1 }, Again::WhenServed),
        "KMSInternalException" | "DependencyTimeoutException" | "KeyUnavailableException" => {
            (other(), Again::WhenServed)
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            (credentials("the session has expired; get new ones"), Again::Never)
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "InvalidAccessKeyId" => (
            credentials("the access key is unknown here, or its session token is missing or wrong"),
            Again::Never,
        ),
        "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException" => (credentials("the request is not signed"), Again::Never),
        "RequestTimeTooSkewed" | "RequestExpired" => (credentials(CLOCK), Again::Once),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "AuthFailure" => {
            let is_clock = ["expired", "not yet current"].iter().any(|sign| words.contains(sign));
            let what =
                if is_clock { CLOCK } else { "the secret access key is wrong, or the clock of this machine" };
            (credentials(what), Again::Once)
        }
        _ if status == 429 => (KmsTrouble::Throttled { attempts: 1 }, Again::WhenServed),
        _ if status >= 500 => (other(), Again::WhenServed),
        _ => (other(), Again::Never),
    };
    Failure { trouble, again, words: words.to_owned() }
}

const CLOCK: &str = "the clock of this machine is wrong; set it";

/// One code for all states but "disabled"; which one it is, only the words tell.
fn invalid_state(words: &str) -> KmsTrouble {
    let compact: String = words.to_lowercase().split_whitespace().collect();
    if compact.contains("pendingdeletion") || compact.contains("pendingreplicadeletion") {
        return KmsTrouble::PendingDeletion;
    }
    let reason = if words.is_empty() { "its state does not allow it" } else { words };
    KmsTrouble::Unusable { reason: reason.trim_end_matches('.').to_owned() }
}

fn no_credentials(error: &CredentialsError) -> Failure {
    let (reason, again) = match error {
        CredentialsError::CredentialsNotLoaded(_) => (
            "there are none in the environment, in a profile, by web identity, or of the container or instance"
                .to_owned(),
            Again::Never,
        ),
        // The services that hand them out have bad moments too.
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
            (chain(error), Again::WhenReached)
        }
        _ => (chain(error), Again::Never),
    };
    Failure { trouble: KmsTrouble::Credentials { reason }, again, words: String::new() }
}

/// The first cause of that type.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// An error and its causes in one line; of those that repeat their cause's words, only the rest.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        let words = error.to_string();
        if text.contains(&words) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&words);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_sdk_kms::error::ConnectorError;
    use aws_sdk_kms::operation::decrypt::DecryptError;

    use super::*;

    fn place() -> Place {
        Place { region: "eu-west-1".to_owned(), endpoint: "http://kms".to_owned() }
    }

    fn sorted(code: &str, words: &str) -> (KmsTrouble, Again) {
        let Failure { trouble, again, words: kept } = said(code, words, 400, &place());
        assert_eq!(kept, words);
        (trouble, again)
    }

    #[test]
    fn what_is_final() {
        let region = "eu-west-1".to_owned();
        let expected = [
            ("AccessDeniedException", "", KmsTrouble::AccessDenied),
            ("NotFoundException", "", KmsTrouble::NoSuchKey { region }),
            ("DisabledException", "", KmsTrouble::Disabled),
            ("KMSInvalidStateException", "arn:x is pending deletion.", KmsTrouble::PendingDeletion),
            ("KMSInvalidStateException", "state PendingDeletion", KmsTrouble::PendingDeletion),
            ("InvalidCiphertextException", "", KmsTrouble::WrongBlob),
            ("IncorrectKeyException", "", KmsTrouble::WrongBlob),
        ];
        for (code, words, trouble) in expected {
            assert_eq!(sorted(code, words), (trouble, Again::Never), "{code}");
        }
        let import = sorted("KMSInvalidStateException", "arn:x is pending import.").0;
        assert_eq!(import, KmsTrouble::Unusable { reason: "arn:x is pending import".to_owned() });
        let (other, again) = sorted("ValidationException", "1 error");
        assert_eq!(other, KmsTrouble::Other { reason: "ValidationException: 1 error".to_owned() });
        assert_eq!(again, Again::Never);
    }

    #[test]
    fn what_passes() {
        for code in ["ThrottlingException", "LimitExceededException", "TooManyRequestsException"] {
            assert_eq!(
                sorted(code, ""),
                (KmsTrouble::Throttled { attempts: 1 }, Again::WhenServed),
                "{code}"
            );
        }
        for code in ["KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"] {
            let (trouble, again) = sorted(code, "");
            assert_eq!(trouble, KmsTrouble::Other { reason: code.to_owned() });
            assert_eq!(again, Again::WhenServed, "{code}");
        }
        assert_eq!(said("InternalFailure", "", 500, &place()).again, Again::WhenServed);
        assert_eq!(said("Odd", "", 429, &place()).trouble, KmsTrouble::Throttled { attempts: 1 });
    }

    #[test]
    fn credentials_and_clocks() {
        let reason = |code: &str, words: &str| match sorted(code, words) {
            (KmsTrouble::Credentials { reason }, again) => (reason, again),
            other => panic!("{code}: {other:?}"),
        };
        let (text, again) = reason("ExpiredTokenException", "The security token is expired");
        assert!(text.contains("expired") && text.contains("get new ones"), "{text}");
        assert_eq!(again, Again::Never);
        assert_eq!(reason("UnrecognizedClientException", "").1, Again::Never);
        let skewed = "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z";
        let (text, again) = reason("InvalidSignatureException", skewed);
        assert!(text.contains("clock of this machine is wrong"), "{text}");
        assert_eq!(again, Again::Once);
        let (text, _) = reason("SignatureDoesNotMatch", "The request signature we calculated does not match");
        assert!(text.contains("secret access key is wrong"), "{text}");
    }

    fn dispatch(error: ConnectorError) -> Failure {
        of(&SdkError::<DecryptError>::dispatch_failure(error), &place())
    }

    #[test]
    fn who_hands_out_credentials_may_be_late() {
        let lacking = |error: CredentialsError| {
            let Failure { trouble, again, .. } = dispatch(ConnectorError::other(error.into(), None));
            assert!(matches!(trouble, KmsTrouble::Credentials { .. }), "{trouble}");
            (trouble.to_string(), again)
        };
        let (none, again) = lacking(CredentialsError::not_loaded_no_source());
        assert!(none.contains("there are none in the environment"), "{none}");
        assert_eq!(again, Again::Never);
        let (wrong, again) = lacking(CredentialsError::invalid_configuration("a loop of profiles"));
        assert!(wrong.ends_with("not properly configured: a loop of profiles"), "{wrong}");
        assert_eq!(again, Again::Never);
        let (late, again) = lacking(CredentialsError::provider_error("503 of STS"));
        assert!(late.ends_with("503 of STS"), "{late}");
        assert_eq!(again, Again::WhenReached);
    }

    #[test]
    fn who_cannot_be_reached_is_named() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let Failure { trouble, again, .. } = dispatch(ConnectorError::io(refused.into()));
        let reason = "io error: refused".to_owned();
        assert_eq!(trouble, KmsTrouble::Unreachable { endpoint: "http://kms".to_owned(), reason });
        assert_eq!(again, Again::WhenReached);
        let late = of(&SdkError::<DecryptError>::timeout_error("10 s"), &place());
        let reason = "no answer in time".to_owned();
        assert_eq!(late.trouble, KmsTrouble::Unreachable { endpoint: "http://kms".to_owned(), reason });
        assert_eq!(late.again, Again::WhenReached);
        let unsent = of(&SdkError::<DecryptError>::construction_failure("no"), &place());
        assert_eq!(unsent, KmsTrouble::Setup { reason: "no".to_owned() }.into());
    }
}
