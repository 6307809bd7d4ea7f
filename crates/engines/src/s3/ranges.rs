//! Long objects, read in ranges.

use std::collections::VecDeque;
use std::io::{self, Read};

use crossbeam_channel::Receiver;
use md5::{Digest as _, Md5};
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Lane;

use super::ahead::Askers;
use super::attributes::Attributes;
use super::error::{S3Error, in_words};
use super::listing::Object;
use super::read::{self, RANGE_BYTES, hex};
use super::session::Session;
use crate::engine::EngineError;

/// Bytes that are asked for ahead.
const AHEAD_BYTES: u64 = 32 << 20;

/// A long object's ranges, asked for ahead.
pub(super) struct Ranges<'a, 's, 'm> {
    session: &'s Session<'m>,
    askers: &'a Askers<'s>,
    object: Object,
    etag: String,
    /// Asked for up to here.
    asked: u64,
    length: u64,
    coming: VecDeque<Receiver<Result<Vec<u8>, S3Error>>>,
    /// The range at hand, and how much of it was taken.
    at_hand: (Vec<u8>, usize),
    /// What its bytes should come to.
    md5: Option<(Md5, String)>,
    failure: Option<S3Error>,
}

impl<'a, 's, 'm> Ranges<'a, 's, 'm> {
    /// Those of an object that has that ETag and length.
    pub(super) fn new(
        session: &'s Session<'m>,
        askers: &'a Askers<'s>,
        object: &Object,
        attributes: &Attributes,
        length: u64,
    ) -> Self {
        Self {
            session,
            askers,
            object: object.clone(),
            etag: attributes.etag.clone(),
            asked: 0,
            length,
            coming: VecDeque::new(),
            at_hand: (Vec::new(), 0),
            md5: attributes.md5().map(|md5| (Md5::new(), md5.to_owned())),
            failure: None,
        }
    }

    /// Gives how many bytes there were, or why it ended before.
    ///
    /// # Errors
    /// What storing them fails with.
    pub(super) fn into_lane(
        mut self,
        lane: &mut Lane<'_>,
        object: &Object,
    ) -> Result<Result<u64, S3Error>, EngineError> {
        match lane.content(&object.key, &mut self) {
            Ok(read) => Ok(Ok(read)),
            Err(RepositoryError::Read { .. }) => match self.failure.take() {
                Some(error) => Ok(Err(error)),
                // Of another length, or not what its ETag says.
                None => Ok(Ok(u64::MAX)),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn next_range(&mut self) -> io::Result<bool> {
        while self.asked < self.length && self.coming.len() as u64 * RANGE_BYTES < AHEAD_BYTES {
            let (session, object, etag) = (self.session, self.object.clone(), self.etag.clone());
            let (offset, length) = (self.asked, RANGE_BYTES.min(self.length - self.asked));
            self.coming
                .push_back(self.askers.ask(move || read::range(session, &object, &etag, offset, length)));
            self.asked += length;
        }
        let Some(coming) = self.coming.pop_front() else { return Ok(false) };
        match coming.recv() {
            Ok(Ok(bytes)) => {
                if let Some((md5, _)) = &mut self.md5 {
                    md5.update(&bytes);
                }
                self.at_hand = (bytes, 0);
                Ok(true)
            }
            Ok(Err(error)) => {
                let text = in_words(&error);
                self.failure = Some(error);
                Err(io::Error::other(text))
            }
            Err(_) => Err(io::Error::other("interrupted")),
        }
    }
}

impl Read for Ranges<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at_hand.1 == self.at_hand.0.len() {
            if !self.next_range()? {
                let is_wrong = self.md5.take().is_some_and(|(md5, should)| hex(&md5.finalize()) != should);
                return if is_wrong { Err(io::Error::other("not what its ETag says")) } else { Ok(0) };
            }
        }
        let rest = self.at_hand.0.get(self.at_hand.1..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        let (target, _) = buffer.split_at_mut(length);
        target.copy_from_slice(rest.split_at(length).0);
        self.at_hand.1 += length;
        Ok(length)
    }
}
