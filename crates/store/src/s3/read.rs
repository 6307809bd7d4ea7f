//! Reading bodies: the length is known before the first byte is read, and nothing shorter is ever returned.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;

use crate::aws::{AwsError, block_on};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::s3::{Failed, S3Store};

impl S3Store {
    /// A whole object, or a whole version of it, compared with the checksum that the service has.
    pub(super) fn read_whole(
        &self,
        name: &ObjectName,
        version: Option<&str>,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let request = self
            .get_object(name)
            .set_version_id(version.map(str::to_owned))
            .checksum_mode(ChecksumMode::Enabled);
        let fail = |failed| self.error_on(Operation::Get, name, failed);
        let answer = self.call(request.send()).map_err(fail)?;
        let length_bytes =
            body_length(&answer).ok_or_else(|| self.senseless(Operation::Get, name.as_str()))?;
        if length_bytes > limit_bytes {
            return Err(StoreError::TooLarge { object: name.clone(), length_bytes, limit_bytes });
        }
        read_body(answer.body, length_bytes, self.answer_timeout).map_err(fail)
    }

    pub(super) fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let truncated = |length_bytes| StoreError::Truncated {
            object: name.clone(),
            offset,
            wanted_bytes: length,
            length_bytes,
        };
        let (Some(end), Some(last)) = (offset.checked_add(length), length.checked_sub(1)) else {
            // HTTP has no word for an empty range, nor for one beyond all numbers.
            let length_bytes = self.info(name, &self.head(Operation::GetRange, name)?)?.length_bytes;
            let is_within = length == 0 && offset <= length_bytes;
            return if is_within { Ok(Vec::new()) } else { Err(truncated(length_bytes)) };
        };
        let request = self.get_object(name).range(format!("bytes={offset}-{}", offset + last));
        let answer = match self.call(request.send()) {
            Err(failed) if failed.status() == Some(416) => {
                let length_bytes = self.info(name, &self.head(Operation::GetRange, name)?)?.length_bytes;
                // Whoever replaced the object in between breaks the contract, not this range.
                return Err(if end <= length_bytes {
                    self.senseless(Operation::GetRange, name.as_str())
                } else {
                    truncated(length_bytes)
                });
            }
            answer => answer.map_err(|failed| self.error_on(Operation::GetRange, name, failed))?,
        };
        let senseless = || self.senseless(Operation::GetRange, name.as_str());
        let (first, total) = extent(&answer).ok_or_else(senseless)?;
        if end > total {
            return Err(truncated(total));
        }
        if first != offset || body_length(&answer) != Some(length) {
            return Err(senseless());
        }
        read_body(answer.body, length, self.answer_timeout)
            .map_err(|failed| self.error_on(Operation::GetRange, name, failed))
    }

    fn get_object(&self, name: &ObjectName) -> GetObjectFluentBuilder {
        self.client.get_object().bucket(&self.bucket).key(self.key(name))
    }
}

fn body_length(answer: &GetObjectOutput) -> Option<u64> {
    u64::try_from(answer.content_length()?).ok()
}

/// First byte of an answer's body, and length of the whole object. A service that ignores ranges sends all of it.
fn extent(answer: &GetObjectOutput) -> Option<(u64, u64)> {
    match answer.content_range() {
        Some(range) => content_range(range),
        None => Some((0, body_length(answer)?)),
    }
}

/// `bytes 0-99/1234`
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()?))
}

/// Silence is measured between parts: a long body may take its time.
fn read_body(mut body: ByteStream, length_bytes: u64, silence: Duration) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let length = usize::try_from(length_bytes).map_err(Failed::interrupted)?;
    bytes.try_reserve_exact(length).map_err(Failed::interrupted)?;
    let read = async {
        loop {
            let part = tokio::time::timeout(silence, body.next()).await;
            match part.map_err(|_| Failed::silent(silence))? {
                Some(part) => {
                    let part = part.map_err(Failed::interrupted)?;
                    if part.len() > length - bytes.len() {
                        return Err(Failed::interrupted("the body is longer than the answer said"));
                    }
                    bytes.extend_from_slice(&part);
                }
                None if bytes.len() < length => {
                    return Err(Failed::interrupted("the body is shorter than the answer said"));
                }
                None => return Ok(bytes),
            }
        }
    };
    block_on(read).map_err(AwsError::Runtime)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_understood() {
        assert_eq!(content_range("bytes 5-9/300000"), Some((5, 300_000)));
        for text in ["", "bytes */5", "bytes 1-2/*", "bytes 1/2", "1-2/3", "bytes -1-2/3"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn a_body_has_the_length_that_was_announced() {
        let read = |length| read_body(ByteStream::from_static(b"12345"), length, Duration::from_secs(60));
        assert_eq!(read(5).unwrap(), b"12345");
        for length in [4, 6] {
            let failed = read(length).unwrap_err();
            assert_eq!(failed.failure.kind, crate::aws::FailureKind::Interrupted);
        }
    }
}
