//! Answers of S3 to who asks for a list, as they come over the wire.
//!
//! They are read here and not by the SDK, which gives versions and delete markers apart, so that their order is lost,
//! and knows nothing of the tags that MinIO lists.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use aws_smithy_types::date_time::{DateTime, Format};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::percent;

/// A page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListPage {
    pub(super) objects: Vec<ListedObject>,
    pub(super) is_truncated: bool,
    /// Where the next page begins, where the service says so.
    pub(super) next_key: Option<String>,
    pub(super) next_version: Option<String>,
}

/// An object, a version, or a delete marker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ListedObject {
    pub(super) key: String,
    /// `null` for one that was written while the bucket kept no versions; none where none were asked for.
    pub(super) version: Option<String>,
    pub(super) is_latest: bool,
    pub(super) is_delete_marker: bool,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) modified_ms: i64,
    pub(super) class: Option<String>,
    /// Where the service lists them.
    pub(super) tags: Option<BTreeMap<String, String>>,
}

/// Reads a page.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(xml: &[u8]) -> Result<ListPage, String> {
    let mut reader = Reader::from_reader(xml);
    let (mut page, mut fields) = (ListPage::default(), Vec::<(Vec<u8>, String)>::new());
    // The names of the elements that are open, and the text of the innermost.
    let (mut open, mut text) = (Vec::<Vec<u8>>::new(), String::new());
    let (mut is_whole, mut is_encoded) = (false, false);
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => {
                open.push(start.local_name().as_ref().to_vec());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
            Event::CData(part) => text.push_str(&part.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(reference) => {
                let number = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                text.push(number.or_else(|| entity(&reference)).ok_or("an unknown entity")?);
            }
            Event::End(_) => {
                let name = open.pop().unwrap_or_default();
                match open.len() {
                    0 if !name.starts_with(b"List") => return Err("it is no list".into()),
                    0 => is_whole = true,
                    1 if name == b"EncodingType" && text != "url" => {
                        return Err(format!("keys are encoded as {text}"));
                    }
                    1 if name == b"EncodingType" => is_encoded = true,
                    1 => end_of_item(&mut page, &name, &text, &mut fields)?,
                    2 => fields.push((name, std::mem::take(&mut text))),
                    _ => {}
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !is_whole {
        return Err("it ends in the middle".into());
    }
    // Not every service does as it was asked.
    if is_encoded {
        for key in page.objects.iter_mut().map(|object| &mut object.key).chain(&mut page.next_key) {
            *key = decoded(key)?;
        }
    }
    Ok(page)
}

fn entity(name: &[u8]) -> Option<char> {
    Some(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        _ => return None,
    })
}

fn end_of_item(
    page: &mut ListPage,
    name: &[u8],
    text: &str,
    fields: &mut Vec<(Vec<u8>, String)>,
) -> Result<(), String> {
    match name {
        b"Contents" | b"Version" | b"DeleteMarker" => {
            page.objects.push(object(name, fields)?);
        }
        b"IsTruncated" => page.is_truncated = text.trim() == "true",
        b"NextKeyMarker" => page.next_key = Some(text.to_owned()),
        b"NextVersionIdMarker" => page.next_version = Some(text.to_owned()),
        _ => {}
    }
    fields.clear();
    Ok(())
}

fn object(kind: &[u8], fields: &[(Vec<u8>, String)]) -> Result<ListedObject, String> {
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| name == wanted.as_bytes()).map(|(_, text)| text.as_str())
    };
    let is_delete_marker = kind == b"DeleteMarker";
    let key = field("Key").ok_or("an object without a key")?.to_owned();
    let missing = |what: &str| format!("{key:?} has no {what}");
    let modified = field("LastModified").ok_or_else(|| missing("date"))?;
    let modified = DateTime::from_str(modified, Format::DateTime).ok();
    let modified_ms = modified.and_then(|date| date.to_millis().ok()).ok_or_else(|| missing("date"))?;
    let size = if is_delete_marker {
        Some(0)
    } else {
        field("Size").and_then(|size| u64::from_str(size.trim()).ok())
    };
    let etag = field("ETag").filter(|_| !is_delete_marker).unwrap_or_default();
    Ok(ListedObject {
        version: field("VersionId").filter(|_| kind != b"Contents").map(str::to_owned),
        is_latest: kind == b"Contents" || field("IsLatest") == Some("true"),
        is_delete_marker,
        etag: etag.trim_matches('"').to_owned(),
        size: size.ok_or_else(|| missing("size"))?,
        modified_ms,
        class: field("StorageClass")
            .filter(|class| !class.is_empty() && !is_delete_marker)
            .map(str::to_owned),
        tags: field("UserTags").map(tags).transpose()?,
        key,
    })
}

/// As in a form: a blank is a plus.
fn decoded(text: &str) -> Result<String, String> {
    percent::decoded(&text.replace('+', " ")).ok_or_else(|| format!("the key {text:?} is no text"))
}

/// `a=b&c=d`
fn tags(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
<EncodingType>url</EncodingType><NextKeyMarker>a%2Bb+c</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>
<DeleteMarker><Key>a%2Bb+c</Key><LastModified>2026-11-22T13:00:00.250Z</LastModified><ETag></ETag><Size>0</Size>
<VersionId>v2</VersionId><IsLatest>true</IsLatest></DeleteMarker>
<Version><Key>a%2Bb+c</Key><LastModified>2026-11-22T12:00:00.000Z</LastModified><ETag>&#34;ab&quot;</ETag><Size>7</Size>
<Owner><ID>x</ID><DisplayName>minio</DisplayName></Owner><StorageClass>STANDARD</StorageClass><IsLatest>false</IsLatest>
<VersionId>v1</VersionId><UserMetadata><content-type>x</content-type></UserMetadata><UserTags>k=v%201&amp;l=</UserTags></Version>
</ListVersionsResult>"#;

    #[test]
    fn versions_keep_their_order() {
        let page = parse(PAGE.as_bytes()).unwrap();
        assert!(page.is_truncated);
        assert_eq!((page.next_key.as_deref(), page.next_version.as_deref()), (Some("a+b c"), Some("v1")));
        let [marker, version] = &page.objects[..] else { panic!("{page:?}") };
        assert_eq!((marker.key.as_str(), marker.is_delete_marker, marker.is_latest), ("a+b c", true, true));
        assert_eq!(marker.modified_ms, 1_795_352_400_250);
        assert_eq!((version.etag.as_str(), version.size, version.is_latest), ("ab", 7, false));
        let tags = BTreeMap::from([("k".to_owned(), "v 1".to_owned()), ("l".to_owned(), String::new())]);
        assert_eq!((version.class.as_deref(), version.tags.as_ref()), (Some("STANDARD"), Some(&tags)));
    }

    #[test]
    fn half_a_page_is_none() {
        // Within the prolog nothing was begun.
        for end in 0..PAGE.len() {
            assert!(parse(&PAGE.as_bytes()[..end]).is_err(), "{end}");
        }
        for wrong in [
            "<List><Contents><Key>a</Key></Contents></List>",
            "<List><EncodingType>url</EncodingType><Contents><Key>%zz</Key><LastModified>2026-11-22T13:00:00Z</LastModified><Size>1</Size></Contents></List>",
            "<List><Contents><Key>a</Key><LastModified>2026-11-22T13:00:00Z</LastModified><Size>-1</Size></Contents></List>",
            "<List><EncodingType>other</EncodingType></List>",
            "<Error><Code>InternalError</Code></Error>",
            "no xml",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
