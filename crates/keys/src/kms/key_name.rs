//! How people name a key of AWS KMS.

/// Longest alias, with `alias/` before it, and longest key ID.
const RESOURCE_MAX_BYTES: usize = 256;
const REGION_MAX_BYTES: usize = 32;

/// A key as it is given: by ARN, by alias, or by ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKeyName {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `arn:aws:kms:REGION:ACCOUNT:key/ID`
    KeyArn { region: String },
    /// `arn:aws:kms:REGION:ACCOUNT:alias/NAME`
    AliasArn { region: String },
    /// `alias/NAME`
    Alias,
    /// A UUID, or `mrk-` and 32 hexadecimal digits.
    KeyId,
}

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KmsKeyNameError {
    /// None of the forms.
    #[error(
        "{text:?} names no KMS key; give an ARN (arn:aws:kms:REGION:ACCOUNT:key/ID or .../alias/NAME), alias/NAME, \
         or a key ID"
    )]
    NoKey {
        /// As given.
        text: String,
    },
    /// An ARN of something else.
    #[error("{text:?} is the ARN of something of the service {service:?}, not of a KMS key")]
    OtherService {
        /// As given.
        text: String,
        /// Its third part.
        service: String,
    },
    /// An ARN with a part that is missing or impossible.
    #[error(
        "the ARN {text:?} has no valid {part}; it should be arn:aws:kms:REGION:ACCOUNT:key/ID or .../alias/NAME"
    )]
    BadArn {
        /// As given.
        text: String,
        /// Which part.
        part: &'static str,
    },
    /// An alias with characters that KMS does not allow, or none, or too many.
    #[error("{text:?} is no valid alias: alias/ and 1 to 250 of the characters a-z, A-Z, 0-9, /, _ and -")]
    BadAlias {
        /// As given.
        text: String,
    },
}

impl KmsKeyName {
    /// Reads a name. Every part of an ARN is checked, because its region becomes part of a host name: a stored ARN
    /// must not be able to send requests to a host of its choice.
    ///
    /// # Errors
    /// [`KmsKeyNameError`]
    pub fn parse(text: &str) -> Result<Self, KmsKeyNameError> {
        let kind = if text.starts_with("arn:") {
            parse_arn(text)?
        } else if text.starts_with("alias/") {
            if !is_alias(text) {
                return Err(KmsKeyNameError::BadAlias { text: text.to_owned() });
            }
            Kind::Alias
        } else if is_bare_key_id(text) {
            Kind::KeyId
        } else {
            return Err(KmsKeyNameError::NoKey { text: text.to_owned() });
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The region of an ARN. An alias or ID alone means the region of whoever uses it.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match &self.kind {
            Kind::KeyArn { region } | Kind::AliasArn { region } => Some(region),
            Kind::Alias | Kind::KeyId => None,
        }
    }

    /// Whether it names one key for good: an alias may point to another key tomorrow, and an ID is one of a region
    /// and account only.
    #[must_use]
    pub fn is_key_arn(&self) -> bool {
        matches!(self.kind, Kind::KeyArn { .. })
    }

    /// Whether the key with that ARN can be the one named; of an alias, any key can.
    #[must_use]
    pub fn may_mean(&self, arn: &str) -> bool {
        match self.kind {
            Kind::KeyArn { .. } => arn == self.text,
            Kind::KeyId => arn.rsplit_once(":key/").is_some_and(|(_, id)| id == self.text),
            Kind::Alias | Kind::AliasArn { .. } => true,
        }
    }
}

fn parse_arn(text: &str) -> Result<Kind, KmsKeyNameError> {
    let bad = |part| KmsKeyNameError::BadArn { text: text.to_owned(), part };
    let mut parts = text.splitn(6, ':').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (partition, service, region, account, resource) = (next(), next(), next(), next(), next());
    if !(partition == "aws" || partition.starts_with("aws-")) || !is_label(partition) {
        return Err(bad("partition"));
    }
    if service != "kms" {
        return Err(KmsKeyNameError::OtherService { text: text.to_owned(), service: service.to_owned() });
    }
    if region.len() > REGION_MAX_BYTES || !is_label(region) {
        return Err(bad("region"));
    }
    if account.len() != 12 || !account.bytes().all(|c| c.is_ascii_digit()) {
        return Err(bad("account of 12 digits"));
    }
    let region = region.to_owned();
    match resource.strip_prefix("key/") {
        Some(id) if is_key_id(id) => Ok(Kind::KeyArn { region }),
        Some(_) => Err(bad("key ID")),
        None if is_alias(resource) => Ok(Kind::AliasArn { region }),
        None => Err(bad("key/ID or alias/NAME")),
    }
}

/// A label of a host name: lowercase letters, digits, and hyphens within.
fn is_label(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_key_id(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    !text.is_empty() && text.len() <= RESOURCE_MAX_BYTES && text.bytes().all(allowed)
}

/// Stricter than within an ARN, where `key/` says what it is: a mistyped word should not become a key ID.
fn is_bare_key_id(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("mrk-") {
        return digits.len() == 32 && is_hex(digits);
    }
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|group| is_hex(group))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_hexdigit())
}

fn is_alias(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'_' | b'-');
    text.len() <= RESOURCE_MAX_BYTES
        && text.strip_prefix("alias/").is_some_and(|name| !name.is_empty() && name.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn region(text: &str) -> Option<String> {
        KmsKeyName::parse(text).unwrap().region().map(str::to_owned)
    }

    #[test]
    fn every_form() {
        let arn = format!("arn:aws:kms:eu-central-1:111122223333:key/{ID}");
        let name = KmsKeyName::parse(&arn).unwrap();
        assert!(name.is_key_arn());
        assert_eq!(name.as_str(), arn);
        assert_eq!(name.region(), Some("eu-central-1"));
        let arn = format!("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-{}", "0a".repeat(16));
        assert!(KmsKeyName::parse(&arn).unwrap().is_key_arn());
        assert_eq!(region(&arn).as_deref(), Some("us-gov-west-1"));
        let alias = "arn:aws-cn:kms:cn-north-1:111122223333:alias/backup/db_1";
        assert!(!KmsKeyName::parse(alias).unwrap().is_key_arn());
        assert_eq!(region(alias).as_deref(), Some("cn-north-1"));
        let long = format!("alias/{}", "x".repeat(250));
        for text in ["alias/backup", &long, ID, "mrk-1234abcd12ab34cd56ef1234567890ab"] {
            assert_eq!(region(text), None, "{text}");
            assert!(!KmsKeyName::parse(text).unwrap().is_key_arn(), "{text}");
        }
    }

    #[test]
    fn what_names_no_key() {
        let long = "x".repeat(33);
        let arn = |partition: &str, region: &str, account: &str, resource: &str| {
            format!("arn:{partition}:kms:{region}:{account}:{resource}")
        };
        let account = "111122223333";
        let bad = [
            (arn("evil", "eu-west-1", account, "key/1"), "partition"),
            (arn("aws-", "eu-west-1", account, "key/1"), "partition"),
            (arn("aws", "", account, "key/1"), "region"),
            (arn("aws", "evil.example/#", account, "key/1"), "region"),
            (arn("aws", "x@evil", account, "key/1"), "region"),
            (arn("aws", "EU-WEST-1", account, "key/1"), "region"),
            (arn("aws", &long, account, "key/1"), "region"),
            (arn("aws", "eu-west-1", "1111", "key/1"), "account of 12 digits"),
            (arn("aws", "eu-west-1", account, "key/"), "key ID"),
            (arn("aws", "eu-west-1", account, "key/1 2"), "key ID"),
            (arn("aws", "eu-west-1", account, "grant/1"), "key/ID or alias/NAME"),
            (arn("aws", "eu-west-1", account, "alias/"), "key/ID or alias/NAME"),
            ("arn:aws:kms:eu-west-1".to_owned(), "account of 12 digits"),
        ];
        for (text, part) in bad {
            assert_eq!(KmsKeyName::parse(&text), Err(KmsKeyNameError::BadArn { text, part }));
        }
        let text = "arn:aws:s3:::bucket".to_owned();
        let service = "s3".to_owned();
        assert_eq!(KmsKeyName::parse(&text), Err(KmsKeyNameError::OtherService { text, service }));
        for text in ["alias/", "alias/a b", "alias/ä"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("alias/{}", "x".repeat(251))])
        {
            assert_eq!(KmsKeyName::parse(&text), Err(KmsKeyNameError::BadAlias { text }));
        }
        let other = ["", "backup", "1234", &ID[1..], &ID.replace('a', "g"), "mrk-12", "key/1", " alias/x"];
        for text in other.map(str::to_owned) {
            assert_eq!(KmsKeyName::parse(&text), Err(KmsKeyNameError::NoKey { text }));
        }
    }

    #[test]
    fn which_answers_fit() {
        let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{ID}");
        let other = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000";
        for name in [&arn, ID] {
            let name = KmsKeyName::parse(name).unwrap();
            assert!(name.may_mean(&arn));
            assert!(!name.may_mean(other));
        }
        assert!(KmsKeyName::parse("alias/x").unwrap().may_mean(other));
    }
}
