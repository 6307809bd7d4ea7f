//! `--drop-existing`: what is as it should be is left, and what the snapshot does not have is deleted, last of all.

use std::cmp::Ordering;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use strongroom_format::tree_entry::TreeEntry;

use super::attributes::Attributes;
use super::error::{S3Error, in_words};
use super::key::Place;
use super::listing::{Listing, Object};
use super::order::{InTreeOrder, MOST_HELD};
use super::read::{self, Opened, Tagging};
use super::restore::{BucketReport, BucketSwitches, Group, Groups, Objects};
use super::session::{Session, failed};
use crate::engine::EngineError;

/// Keys that are deleted with one request.
const DELETED_AT_ONCE: usize = 1000;

/// What is there, key by key in the order of a snapshot.
pub(super) struct There<'s, 'm> {
    order: InTreeOrder<Listing<'s, 'm>>,
    next: Option<Object>,
}

impl<'s, 'm> There<'s, 'm> {
    pub(super) fn new(listing: Listing<'s, 'm>) -> Result<Self, S3Error> {
        let mut order = InTreeOrder::new(listing, "", MOST_HELD);
        let next = order.next_item()?;
        Ok(Self { order, next })
    }

    /// What there is under a key, the newest first. Keys are asked for in the order of a snapshot.
    pub(super) fn seek(&mut self, key: &str) -> Result<Vec<Object>, S3Error> {
        let mut found = Vec::new();
        let Ok(path) = (Place { key: key.to_owned(), version: 0 }).path() else { return Ok(found) };
        while let Some(object) = self.next.take() {
            if object.key == key {
                found.push(object);
            } else if object.path > path {
                self.next = Some(object);
                break;
            }
            self.next = self.order.next_item()?;
        }
        Ok(found)
    }
}

/// Whether there is, under a key, what would be written: the same bytes in the same order, and the same delete markers.
pub(super) fn has_same_bytes(group: &Group, there: &[Object]) -> bool {
    let is_same = |((entry, attributes), object): (&(TreeEntry, Attributes), &Object)| {
        attributes.etag == object.listed.etag
            && entry.bytes() == object.listed.size
            && attributes.delete_marker == object.listed.is_delete_marker
    };
    group.entries.len() == there.len() && group.entries.iter().zip(there.iter().rev()).all(is_same)
}

/// Whether what is there, whose bytes are the same, also has what belongs to the object.
///
/// # Errors
/// `Request`
pub(super) fn is_same(
    objects: &Objects<'_>,
    session: &Session<'_>,
    group: &Group,
    there: &Object,
) -> Result<bool, S3Error> {
    let Some((_, should)) = group.current() else { return Ok(false) };
    let with_tags = objects.facts.tags == "listed" || objects.facts.tags == "asked";
    let is_listed = there.listed.tags.is_some();
    let tagging = if with_tags && !is_listed { Tagging::Asked } else { Tagging::LeftOut };
    match read::open(session, there, tagging)? {
        Opened::Open(has, _) => Ok(has.headers == should.headers
            && has.metadata == should.metadata
            && (!with_tags || has.tags == should.tags)),
        Opened::Vanished | Opened::Unreadable(_) => Ok(false),
    }
}

/// Deletes what the snapshot does not have.
///
/// # Errors
/// What listing and deleting fail with.
pub(super) fn delete_others(
    objects: &Objects<'_>,
    session: &Session<'_>,
    mut there: InTreeOrder<Listing<'_, '_>>,
    switches: &BucketSwitches,
    report: &mut BucketReport,
) -> Result<(), EngineError> {
    let mut groups = Groups::new(objects.reader, objects.snapshot)?;
    let mut group = groups.next()?;
    let mut others = Vec::new();
    while let Some(object) = there.next_item()? {
        let is_kept = loop {
            let Some(at_hand) = &group else { break false };
            let place = Place { key: at_hand.key.clone(), version: 0 };
            match place.path().map_or(Ordering::Less, |path| path.cmp(&object.path)) {
                Ordering::Less => group = groups.next()?,
                Ordering::Equal => break at_hand.current().is_some(),
                Ordering::Greater => break false,
            }
        };
        if !is_kept && switches.selection.has(&object.key) {
            others.push(session.key(&object.key));
        }
        if others.len() >= DELETED_AT_ONCE {
            delete(session, &mut others, report)?;
        }
    }
    Ok(delete(session, &mut others, report)?)
}

/// Deletes these keys, whole ones.
///
/// # Errors
/// `Request`
pub(super) fn delete(
    session: &Session<'_>,
    keys: &mut Vec<String>,
    report: &mut BucketReport,
) -> Result<(), S3Error> {
    let keys = std::mem::take(keys);
    let (Some(first), count) = (keys.first().cloned(), keys.len() as u64) else { return Ok(()) };
    let named: Result<Vec<_>, _> =
        keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
    let delete = named.and_then(|named| Delete::builder().set_objects(Some(named)).quiet(true).build());
    let Ok(delete) = delete else { return Ok(()) };
    let request = session.client.delete_objects().bucket(&session.bucket).delete(delete);
    let answer =
        session.call("DeleteObjects", &first, || async { request.clone().send().await.map_err(failed) });
    match answer {
        Ok(answer) => {
            let errors = answer.errors.unwrap_or_default();
            report.deleted += count.saturating_sub(errors.len() as u64);
            for error in errors {
                let why = format!("it cannot be deleted: {}", error.message.unwrap_or_default());
                report.fail(&error.key.unwrap_or_default(), &why);
            }
            Ok(())
        }
        Err(error) if error.is_of_object() => {
            report.fail(
                &first,
                &format!("it and {} others cannot be deleted: {}", count - 1, in_words(&error)),
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}
