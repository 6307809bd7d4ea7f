//! Objects, and what belongs to them, as they are written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockLegalHoldStatus, ObjectLockMode,
    StorageClass,
};
use bytes::Bytes;
use crossbeam_channel::Receiver;

use super::ahead::Askers;
use super::attributes::Attributes;
use super::error::{S3Error, in_words};
use super::session::{Session, failed};
use crate::percent::encoded;

/// Size of the parts of long objects whose own are not known, or too large, bytes.
const PART_BYTES: u64 = 16 << 20;
/// Largest part, or object that came in one go, that is written as it was, bytes.
pub(super) const LARGEST_PART_BYTES: u64 = 64 << 20;
/// Smallest part that a service takes, but for the last, bytes.
const SMALLEST_PART_BYTES: u64 = 5 << 20;
/// Bytes of parts that are under way.
const PARTS_BYTES: u64 = 64 << 20;
const MOST_PARTS: u64 = 10_000;

/// How things are written.
pub(super) struct Writing {
    /// The bucket can lock objects.
    pub(super) has_lock: bool,
    /// The service does not know storage classes; found out by the first that it refused.
    pub(super) without_classes: AtomicBool,
}

/// Sets on a request what belongs to an object, which `PutObject` and `CreateMultipartUpload` take alike.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr, $writing:expr) => {{
        let (attributes, writing): (&Attributes, &Writing) = ($attributes, $writing);
        let header = |name: &str| attributes.headers.get(name).cloned();
        let pairs =
            attributes.tags.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let tags = pairs.collect::<Vec<_>>().join("&");
        let expires = header("expires").and_then(|text| {
            DateTime::from_str(&text, aws_sdk_s3::primitives::DateTimeFormat::HttpDate).ok()
        });
        let class = attributes.class.as_deref().map(StorageClass::from);
        let retention =
            attributes.retention.as_ref().filter(|(_, until)| writing.has_lock && is_ahead(*until));
        let hold = attributes.legal_hold && writing.has_lock;
        $request
            .set_cache_control(header("cache-control"))
            .set_content_disposition(header("content-disposition"))
            .set_content_encoding(header("content-encoding"))
            .set_content_language(header("content-language"))
            .set_content_type(header("content-type"))
            .set_website_redirect_location(header("x-amz-website-redirect-location"))
            .set_expires(expires)
            .set_metadata(Some(attributes.metadata.clone().into_iter().collect()))
            .set_tagging(Some(tags).filter(|tags| !tags.is_empty()))
            .set_storage_class(class.filter(|_| !writing.without_classes.load(Ordering::Relaxed)))
            .set_object_lock_mode(retention.map(|(mode, _)| ObjectLockMode::from(mode.as_str())))
            .set_object_lock_retain_until_date(retention.map(|(_, until)| DateTime::from_millis(*until)))
            .set_object_lock_legal_hold_status(hold.then_some(ObjectLockLegalHoldStatus::On))
    }};
}

fn is_ahead(until_ms: i64) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).is_ok_and(|now| now < until_ms)
}

/// That of the checksum which the service kept of it, so that it keeps the same again.
fn algorithm(attributes: &Attributes) -> Option<ChecksumAlgorithm> {
    let whole = |name: &str| attributes.checksums.get(name).is_some_and(|value| !value.contains('-'));
    [
        ("sha256", ChecksumAlgorithm::Sha256),
        ("sha1", ChecksumAlgorithm::Sha1),
        ("crc32c", ChecksumAlgorithm::Crc32C),
        ("crc32", ChecksumAlgorithm::Crc32),
    ]
    .into_iter()
    .find_map(|(name, algorithm)| whole(name).then_some(algorithm))
}

/// Writes an object in one go.
///
/// # Errors
/// `Request`
pub(super) fn whole(
    session: &Session<'_>,
    writing: &Writing,
    key: &str,
    attributes: &Attributes,
    bytes: Vec<u8>,
) -> Result<(), S3Error> {
    let (key, bytes) = (session.key(key), Bytes::from(bytes));
    let length = bytes.len() as u64;
    with_or_without_class(writing, attributes, || {
        session.call_with("PutObject", &key, length, || {
            let request = session.client.put_object().bucket(&session.bucket).key(&key);
            let request = with_attributes!(request, attributes, writing)
                .set_checksum_algorithm(algorithm(attributes))
                .body(ByteStream::from(bytes.clone()));
            async { request.send().await.map_err(failed) }
        })
    })
    .map(drop)
}

/// Services other than AWS's own know few storage classes: there, the object gets that of the bucket.
fn with_or_without_class<T>(
    writing: &Writing,
    attributes: &Attributes,
    write: impl Fn() -> Result<T, S3Error>,
) -> Result<T, S3Error> {
    match write() {
        Err(error) if attributes.class.is_some() && error.code() == Some("InvalidStorageClass") => {
            writing.without_classes.store(true, Ordering::Relaxed);
            write()
        }
        written => written,
    }
}

/// Deletes an object: where versions are kept, that leaves a marker.
///
/// # Errors
/// `Request`
pub(super) fn delete(session: &Session<'_>, key: &str) -> Result<(), S3Error> {
    let key = session.key(key);
    let request = session.client.delete_object().bucket(&session.bucket).key(&key);
    session.call("DeleteObject", &key, || async { request.clone().send().await.map_err(failed) }).map(drop)
}

/// A long object that is written in parts, several at once.
pub(super) struct Upload<'a, 's, 'm> {
    session: &'s Session<'m>,
    askers: &'a Askers<'s>,
    key: String,
    id: String,
    /// Sizes of the parts to come.
    sizes: Box<dyn Iterator<Item = u64> + 'a>,
    /// That of the part at hand.
    size: u64,
    part: Vec<u8>,
    number: i32,
    coming: VecDeque<(u64, Receiver<Result<CompletedPart, S3Error>>)>,
    under_way: u64,
    done: Vec<CompletedPart>,
    failure: Option<S3Error>,
}

impl<'a, 's, 'm> Upload<'a, 's, 'm> {
    /// Begins it.
    ///
    /// # Errors
    /// `Request`
    pub(super) fn begin(
        session: &'s Session<'m>,
        askers: &'a Askers<'s>,
        writing: &Writing,
        key: &str,
        attributes: &'a Attributes,
        length: u64,
    ) -> Result<Self, S3Error> {
        let key = session.key(key);
        let answer = with_or_without_class(writing, attributes, || {
            let request = session.client.create_multipart_upload().bucket(&session.bucket).key(&key);
            let request = with_attributes!(request, attributes, writing);
            session.call("CreateMultipartUpload", &key, || async {
                request.clone().send().await.map_err(failed)
            })
        })?;
        let mut sizes = part_sizes(attributes, length);
        let size = sizes.next().unwrap_or(PART_BYTES);
        Ok(Self {
            session,
            askers,
            key,
            id: answer.upload_id.unwrap_or_default(),
            sizes,
            size,
            part: Vec::new(),
            number: 0,
            coming: VecDeque::new(),
            under_way: 0,
            done: Vec::new(),
            failure: None,
        })
    }

    fn send(&mut self) -> Result<(), S3Error> {
        while !self.coming.is_empty() && self.under_way + self.size > PARTS_BYTES {
            self.take()?;
        }
        self.number += 1;
        let (session, key, id, number) = (self.session, self.key.clone(), self.id.clone(), self.number);
        let bytes = Bytes::from(std::mem::take(&mut self.part));
        let length = bytes.len() as u64;
        let answer = self.askers.ask(move || {
            let answer = session.call_with("UploadPart", &key, length, || {
                let request = session.client.upload_part().bucket(&session.bucket).key(&key).upload_id(&id);
                let request = request.part_number(number).body(ByteStream::from(bytes.clone()));
                async { request.send().await.map_err(failed) }
            })?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag)
                .set_checksum_crc32(answer.checksum_crc32)
                .build())
        });
        self.coming.push_back((length, answer));
        self.under_way += length;
        self.size = self.sizes.next().unwrap_or(PART_BYTES);
        Ok(())
    }

    fn take(&mut self) -> Result<(), S3Error> {
        let Some((length, answer)) = self.coming.pop_front() else { return Ok(()) };
        self.under_way -= length;
        if let Ok(answer) = answer.recv() {
            self.done.push(answer?);
        }
        Ok(())
    }

    /// Makes it an object.
    ///
    /// # Errors
    /// `Request`; then nothing is left of it.
    pub(super) fn complete(mut self) -> Result<(), S3Error> {
        let finish = |upload: &mut Self| {
            if let Some(error) = upload.failure.take() {
                return Err(error);
            }
            if !upload.part.is_empty() {
                upload.send()?;
            }
            while !upload.coming.is_empty() {
                upload.take()?;
            }
            let parts =
                CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut upload.done))).build();
            let session = upload.session;
            let request = session
                .client
                .complete_multipart_upload()
                .bucket(&session.bucket)
                .key(&upload.key)
                .upload_id(&upload.id)
                .multipart_upload(parts);
            session.call("CompleteMultipartUpload", &upload.key, || async {
                request.clone().send().await.map_err(failed)
            })
        };
        let finished = finish(&mut self).map(drop);
        if finished.is_err() {
            self.abort();
        }
        finished
    }

    /// Leaves nothing of it.
    pub(super) fn abort(&self) {
        let session = self.session;
        let request = session
            .client
            .abort_multipart_upload()
            .bucket(&session.bucket)
            .key(&self.key)
            .upload_id(&self.id);
        let aborted = session.call("AbortMultipartUpload", &self.key, || async {
            request.clone().send().await.map_err(failed)
        });
        if let Err(error) = aborted {
            session.monitor.warn(&format!("parts of {:?} may be left: {}", self.key, in_words(&error)));
        }
    }

    /// Why writing into it failed, if that was the service.
    pub(super) fn failure(&mut self) -> Option<S3Error> {
        self.failure.take()
    }
}

impl Write for Upload<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.size).unwrap_or(usize::MAX).saturating_sub(self.part.len());
        let (now, _) = bytes.split_at(bytes.len().min(room));
        self.part.extend_from_slice(now);
        if self.part.len() as u64 >= self.size
            && let Err(error) = self.send()
        {
            self.failure = Some(error);
            return Err(io::Error::other("a part cannot be written"));
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As it was uploaded, so that the ETag comes out the same; else of a size that fits.
fn part_sizes(attributes: &Attributes, length: u64) -> Box<dyn Iterator<Item = u64> + '_> {
    let (total, largest) = attributes.parts.iter().fold((0_u64, 0), |(total, largest), (count, size)| {
        (total.saturating_add(count * size), largest.max(*size))
    });
    let all_but_last = attributes.parts.split_last().map_or(&[][..], |(_, parts)| parts);
    let is_large_enough = all_but_last.iter().all(|(_, size)| *size >= SMALLEST_PART_BYTES);
    if total == length && largest <= LARGEST_PART_BYTES && is_large_enough && length > 0 {
        return Box::new(attributes.part_sizes());
    }
    let size = PART_BYTES.max(length.div_ceil(MOST_PARTS));
    Box::new(std::iter::repeat(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_they_were() {
        let of = |parts: &[(u64, u64)], length| {
            let attributes = Attributes { parts: parts.to_vec(), ..Attributes::default() };
            part_sizes(&attributes, length).take(3).collect::<Vec<_>>()
        };
        let mib = 1 << 20;
        assert_eq!(of(&[(2, 8 * mib), (1, mib)], 17 * mib), [8 * mib, 8 * mib, mib]);
        // Of other lengths, too large, too small, and not known.
        for (parts, length) in [
            (vec![(2, 8 * mib)], 17 * mib),
            (vec![(1, 65 * mib), (1, mib)], 66 * mib),
            (vec![(2, mib), (1, 1)], 2 * mib + 1),
            (vec![], 40 * mib),
        ] {
            assert_eq!(of(&parts, length), [PART_BYTES; 3], "{parts:?}");
        }
        assert_eq!(of(&[], PART_BYTES * MOST_PARTS * 2)[0], PART_BYTES * 2);
    }
}
