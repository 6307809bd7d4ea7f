//! Objects, and what belongs to them, as they are read.

use std::collections::BTreeMap;

use aws_sdk_s3::types::ChecksumMode;
use md5::{Digest as _, Md5};

use super::attributes::Attributes;
use super::error::{S3Error, in_words};
use super::listing::Object;
use super::session::{Session, body, broken, failed};

/// Objects up to this long are read in one go, bytes.
pub(super) const WHOLE_BYTES: u64 = 16 << 20;
/// Of longer ones so much with one request, bytes.
pub(super) const RANGE_BYTES: u64 = 4 << 20;
/// Sizes of parts that are asked for one by one, where they are not all of one size.
const MOST_PARTS: u64 = 10_000;

/// Where tags come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagging {
    /// The list has them.
    Listed,
    /// Each object is asked for them.
    Asked,
    /// They are left out.
    LeftOut,
}

/// What became of reading an object.
pub(super) enum Fetched {
    Read(Box<Attributes>, Vec<u8>),
    /// It was deleted since it was listed.
    Vanished,
    /// Why it cannot be read.
    Unreadable(String),
}

/// Of a long object: what belongs to it, before it is read range by range.
pub(super) enum Opened {
    Open(Box<Attributes>, u64),
    Vanished,
    Unreadable(String),
}

/// What belongs to an object by an answer to `GetObject` or `HeadObject`, which have the same fields.
macro_rules! attributes {
    ($answer:expr, $object:expr) => {{
        let (answer, listed) = (&$answer, &$object.listed);
        let headers = [
            ("cache-control", answer.cache_control()),
            ("content-disposition", answer.content_disposition()),
            ("content-encoding", answer.content_encoding()),
            ("content-language", answer.content_language()),
            ("content-type", answer.content_type()),
            ("expires", answer.expires_string()),
            ("x-amz-website-redirect-location", answer.website_redirect_location()),
        ];
        let checksums = [
            ("crc32", answer.checksum_crc32()),
            ("crc32c", answer.checksum_crc32_c()),
            ("crc64nvme", answer.checksum_crc64_nvme()),
            ("sha1", answer.checksum_sha1()),
            ("sha256", answer.checksum_sha256()),
        ];
        let there = |(name, value): (&str, Option<&str>)| Some((name.to_owned(), value?.to_owned()));
        let until = answer.object_lock_retain_until_date().and_then(|date| date.to_millis().ok());
        Attributes {
            etag: answer.e_tag().map_or(listed.etag.clone(), |etag| etag.trim_matches('"').to_owned()),
            version: listed.version.clone(),
            delete_marker: false,
            headers: headers.into_iter().filter_map(there).collect(),
            metadata: answer.metadata().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            tags: listed.tags.clone().unwrap_or_default(),
            class: answer
                .storage_class()
                .map(|class| class.as_str().to_owned())
                .filter(|class| class != "STANDARD"),
            encryption: answer.server_side_encryption().map(|kind| kind.as_str().to_owned()),
            retention: answer.object_lock_mode().map(|mode| mode.as_str().to_owned()).zip(until),
            legal_hold: answer.object_lock_legal_hold_status().is_some_and(|status| status.as_str() == "ON"),
            checksums: checksums.into_iter().filter_map(there).collect(),
            parts: Vec::new(),
        }
    }};
}

/// Reads an object of at most [`WHOLE_BYTES`], with what belongs to it. One that changed since it was listed is read as it
/// is now.
///
/// # Errors
/// What concerns more than this object.
pub(super) fn whole(session: &Session<'_>, object: &Object, tagging: Tagging) -> Result<Fetched, S3Error> {
    let mut why = String::new();
    for is_first in [true, false] {
        let (mut attributes, count, bytes) = match get(session, object, is_first) {
            Ok(read) => read,
            Err(error) if error.status() == Some(412) && is_first => continue,
            Err(error) => match unreadable(error)? {
                Some(why) => return Ok(Fetched::Unreadable(why)),
                None => return Ok(Fetched::Vanished),
            },
        };
        if attributes.md5().is_some_and(|md5| *md5 != hex(&Md5::digest(&bytes))) {
            "what was read is not what its ETag says, also the second time".clone_into(&mut why);
            continue;
        }
        // A list shows no tags to whom they are denied.
        if tagging != Tagging::LeftOut && count > 0 && attributes.tags.is_empty() {
            match tags(session, object)? {
                Some(tags) => attributes.tags = tags,
                None => return Ok(Fetched::Vanished),
            }
        }
        attributes.parts = parts(session, object, &attributes, bytes.len() as u64)?;
        return Ok(Fetched::Read(Box::new(attributes), bytes));
    }
    if why.is_empty() {
        "it changed while it was read, also the second time".clone_into(&mut why);
    }
    Ok(Fetched::Unreadable(why))
}

/// Why an object cannot be read; none if it was deleted.
fn unreadable(error: S3Error) -> Result<Option<String>, S3Error> {
    // A delete marker answers 405.
    if error.is_not_found() || error.status() == Some(405) {
        return Ok(None);
    }
    if error.is_of_object() { Ok(Some(in_words(&error))) } else { Err(error) }
}

fn get(
    session: &Session<'_>,
    object: &Object,
    as_listed: bool,
) -> Result<(Attributes, i32, Vec<u8>), S3Error> {
    let etag = Some(object.listed.etag.clone()).filter(|etag| as_listed && !etag.is_empty());
    let request = session
        .client
        .get_object()
        .bucket(&session.bucket)
        .key(session.key(&object.key))
        .set_version_id(object.listed.version.clone())
        .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
        .checksum_mode(ChecksumMode::Enabled);
    session.call_with("GetObject", &session.key(&object.key), object.listed.size, || async {
        let answer = request.clone().send().await.map_err(failed)?;
        let (attributes, count) = (attributes!(answer, object), answer.tag_count().unwrap_or(0));
        let length = answer.content_length();
        Ok((attributes, count, body(answer.body, length).await?))
    })
}

/// What belongs to a long object; with the length that it has now.
///
/// # Errors
/// What concerns more than this object.
pub(super) fn open(session: &Session<'_>, object: &Object, tagging: Tagging) -> Result<Opened, S3Error> {
    let request = session
        .client
        .head_object()
        .bucket(&session.bucket)
        .key(session.key(&object.key))
        .set_version_id(object.listed.version.clone())
        .checksum_mode(ChecksumMode::Enabled);
    let asked = session.call("HeadObject", &session.key(&object.key), || async {
        let answer = request.clone().send().await.map_err(failed)?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        Ok((attributes!(answer, object), length.ok_or_else(|| broken("the answer has no length"))?))
    });
    let (mut attributes, length) = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(unreadable(error)?.map_or(Opened::Vanished, Opened::Unreadable));
        }
    };
    if tagging == Tagging::Asked {
        match tags(session, object)? {
            Some(tags) => attributes.tags = tags,
            None => return Ok(Opened::Vanished),
        }
    }
    attributes.parts = parts(session, object, &attributes, length)?;
    Ok(Opened::Open(Box::new(attributes), length))
}

/// Reads a range of an object that has that ETag.
///
/// # Errors
/// `Request`: 412 when the object is another now.
pub(super) fn range(
    session: &Session<'_>,
    object: &Object,
    etag: &str,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, S3Error> {
    let request = session
        .client
        .get_object()
        .bucket(&session.bucket)
        .key(session.key(&object.key))
        .set_version_id(object.listed.version.clone())
        .if_match(format!("\"{etag}\""))
        .range(format!("bytes={offset}-{}", offset + length - 1));
    session.call_with("GetObject", &session.key(&object.key), length, || async {
        let answer = request.clone().send().await.map_err(failed)?;
        if answer.content_length().and_then(|length| u64::try_from(length).ok()) != Some(length) {
            return Err(broken("the answer is not the range that was asked for"));
        }
        body(answer.body, i64::try_from(length).ok()).await
    })
}

/// The tags of an object; nothing if it is gone. Where they are denied, that is noted, and none are asked for any more.
///
/// # Errors
/// `Request`
pub(super) fn tags(
    session: &Session<'_>,
    object: &Object,
) -> Result<Option<BTreeMap<String, String>>, S3Error> {
    if session.tags_denied.get().is_some() {
        return Ok(Some(BTreeMap::new()));
    }
    let request = session
        .client
        .get_object_tagging()
        .bucket(&session.bucket)
        .key(session.key(&object.key))
        .set_version_id(object.listed.version.clone());
    let answer = session.call("GetObjectTagging", &session.key(&object.key), || async {
        request.clone().send().await.map_err(failed)
    });
    match answer {
        Ok(answer) => Ok(Some(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.is_denied() => {
            session.tags_denied.get_or_init(|| in_words(&error));
            Ok(Some(BTreeMap::new()))
        }
        Err(error) => Err(error),
    }
}

/// The sizes of an object's parts, as many of one size as there are. Mostly all but the last have one, which two questions
/// tell. None where the service does not say.
fn parts(
    session: &Session<'_>,
    object: &Object,
    attributes: &Attributes,
    length: u64,
) -> Result<Vec<(u64, u64)>, S3Error> {
    let Some(count) = attributes.part_count().filter(|count| *count <= MOST_PARTS) else {
        return Ok(Vec::new());
    };
    if count == 1 {
        return Ok(vec![(1, length)]);
    }
    let ask = |number: u64| match part(session, object, attributes, number) {
        Err(error) if error.is_of_object() => Ok(None),
        answer => answer,
    };
    let (Some(first), Some(last)) = (ask(1)?, ask(count)?) else { return Ok(Vec::new()) };
    if first.checked_mul(count - 1).and_then(|all| all.checked_add(last)) == Some(length) {
        return Ok(vec![(count - 1, first), (1, last)]);
    }
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut total = 0_u64;
    for number in 1..=count {
        let Some(size) = ask(number)? else { return Ok(Vec::new()) };
        total = total.saturating_add(size);
        match parts.last_mut() {
            Some((so_many, same)) if *same == size => *so_many += 1,
            _ => parts.push((1, size)),
        }
    }
    Ok(if total == length { parts } else { Vec::new() })
}

fn part(
    session: &Session<'_>,
    object: &Object,
    attributes: &Attributes,
    number: u64,
) -> Result<Option<u64>, S3Error> {
    let request = session
        .client
        .head_object()
        .bucket(&session.bucket)
        .key(session.key(&object.key))
        .set_version_id(object.listed.version.clone())
        .if_match(format!("\"{}\"", attributes.etag))
        .set_part_number(i32::try_from(number).ok());
    let answer = session.call("HeadObject", &session.key(&object.key), || async {
        request.clone().send().await.map_err(failed)
    })?;
    // A service without parts tells the whole length.
    let has_parts = answer.parts_count().is_some();
    Ok(answer.content_length().and_then(|length| u64::try_from(length).ok()).filter(|_| has_parts))
}

/// In digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
