//! Azure Blob Storage and Google Cloud Storage, through the `object_store` crate.
//!
//! Creating is one conditional request (`If-None-Match: *`; `x-goog-if-generation-match: 0`), and no object needs an
//! upload in parts. Nothing is tried again here: [`RetryStore`](crate::RetryStore) decides that.
//!
//! Credentials are found as `object_store` finds them: `AZURE_STORAGE_ACCOUNT_NAME` with `_KEY`, `_SAS_KEY` or a client
//! secret, workload identity, managed identity; `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_APPLICATION_CREDENTIALS`, the
//! machine's service account. Emulators: `AZURE_STORAGE_USE_EMULATOR`, or an endpoint with `http://`.

mod answer;
mod open;
mod transport;

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMode, PutOptions,
};

use crate::aws::block_on;
use crate::billing::{azure_billed_days, gcs_billed_days};
use crate::cloud::answer::{Answer, Failure};
use crate::error::{Operation, StoreError};
use crate::name::{ObjectName, check_prefix};
use crate::store::{ObjectInfo, PutOutcome, Store};

/// Longest silence of a service.
const SILENCE: Duration = Duration::from_secs(60);

/// A put that is slower than this has stalled: no answer comes before its last byte, so that silence tells nothing.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;

/// A container on Azure, or a bucket on Google's cloud, or what begins with a prefix there.
pub struct CloudStore {
    service: Box<dyn Service>,
    kind: Kind,
    /// What the names of all objects begin with: nothing, or a path with `/` at its end.
    root: String,
    location: String,
    pack_class: Option<String>,
}

/// The parts of `object_store` in use here.
trait Service: ObjectStore + PaginatedListStore {}

impl<S: ObjectStore + PaginatedListStore> Service for S {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Azure,
    Gcs,
}

impl CloudStore {
    /// Lists do not tell the class of an object: it is taken for the one that packs are given now.
    fn billed_days(&self, name: &ObjectName) -> u16 {
        let class = self.pack_class.as_deref().filter(|_| name.as_str().starts_with("packs/"));
        class.map_or(0, |class| match self.kind {
            Kind::Azure => azure_billed_days(class),
            Kind::Gcs => gcs_billed_days(class),
        })
    }

    /// Runs a request that must answer within `limit`.
    fn call<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        let request = async { tokio::time::timeout(limit, request).await };
        match block_on(request) {
            Ok(Ok(answer)) => answer.map_err(Failure::Service),
            Ok(Err(_)) => Err(Failure::Silent),
            Err(error) => Err(Failure::System(error)),
        }
    }

    fn fail(&self, operation: Operation, object: &str, failure: Failure) -> StoreError {
        answer::store_error(operation, object, &self.location, failure)
    }

    /// For calls that need the object to be there.
    fn fail_on(&self, operation: Operation, name: &ObjectName, failure: Failure) -> StoreError {
        match failure.answer() {
            Answer::NotFound => StoreError::NotFound { object: name.clone() },
            Answer::Archived => StoreError::Archived { object: name.clone() },
            _ => self.fail(operation, name.as_str(), failure),
        }
    }

    fn path(&self, operation: Operation, name: &ObjectName) -> Result<Path, StoreError> {
        let path = Path::parse(format!("{}{name}", self.root)).map_err(|error| StoreError::Io {
            operation,
            object: name.to_string(),
            location: self.location.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        });
        // `parse` takes slashes away at either end, and neither names nor roots have any there.
        path
    }

    fn open(&self, path: &Path, range: Option<GetRange>) -> Result<GetResult, Failure> {
        let options = GetOptions { range, ..GetOptions::default() };
        self.call(SILENCE, self.service.get_opts(path, options))
    }

    /// Reads what an answer said that it holds, neither more nor less.
    fn read(&self, answer: GetResult, length: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| Failure::WrongLength)?);
        let mut body = answer.into_stream();
        let read = async {
            // Silence is measured between parts: a long body may take its time.
            while let Ok(part) = tokio::time::timeout(SILENCE, body.next()).await {
                let Some(part) = part else { return Ok(bytes) };
                bytes.extend_from_slice(&part.map_err(Failure::Service)?);
                if bytes.len() as u64 > length {
                    return Err(Failure::WrongLength);
                }
            }
            Err(Failure::Silent)
        };
        let bytes = block_on(read).map_err(Failure::System)??;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(Failure::WrongLength) }
    }

    fn list_on(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        check_prefix(prefix)?;
        let mut last = after.cloned();
        // `object_store` leaves the blob out whose name is the whole prefix.
        if self.kind == Kind::Azure
            && let Ok(name) = ObjectName::new(prefix)
            && last.as_ref().is_none_or(|last| *last < name)
        {
            match self.stat(&name) {
                Ok(info) => visit(name.clone(), info)?,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            last = Some(name);
        }
        let prefix = format!("{}{prefix}", self.root);
        let offset = last.as_ref().map(|name| format!("{}{name}", self.root));
        let mut page_token = None;
        // The emulator of Azure gives what lies before the offset as well.
        let mut is_behind = false;
        loop {
            let options = PaginatedListOptions {
                page_token,
                offset: offset.clone(),
                ..PaginatedListOptions::default()
            };
            let prefix_given = (!prefix.is_empty()).then_some(prefix.as_str());
            let page = self
                .call(SILENCE, self.service.list_paginated(prefix_given, options))
                .map_err(|failure| self.fail(Operation::List, &prefix, failure))?;
            for meta in page.result.objects {
                let Some((name, info)) = self.listed(&prefix, &meta) else { continue };
                if last.as_ref().is_some_and(|last| name <= *last) {
                    if is_behind {
                        return Err(self.out_of_order(&name));
                    }
                    continue;
                }
                is_behind = true;
                last = Some(name.clone());
                visit(name, info)?;
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(());
            }
        }
    }

    /// What a listed object is called here; `None` for one that is foreign.
    fn listed(&self, prefix: &str, meta: &ObjectMeta) -> Option<(ObjectName, ObjectInfo)> {
        let path = meta.location.as_ref();
        let name = path.starts_with(prefix).then(|| path.strip_prefix(&self.root)).flatten()?;
        let name = ObjectName::new(name).ok()?;
        let info = info(meta, self.billed_days(&name));
        Some((name, info))
    }

    /// Such a list could lose names when it is resumed, and a merge of two go wrong.
    fn out_of_order(&self, name: &ObjectName) -> StoreError {
        let rule = "the service does not list in the order of bytes (Azure accounts with a hierarchical namespace do \
                    not); use another account or service";
        StoreError::Io {
            operation: Operation::List,
            object: name.to_string(),
            location: self.location.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, rule),
        }
    }
}

fn info(meta: &ObjectMeta, billed_days: u16) -> ObjectInfo {
    // Whole seconds, since headers have no more, and lists must say the same.
    let modified_s = u64::try_from(meta.last_modified.timestamp()).unwrap_or(0);
    ObjectInfo { length_bytes: meta.size, modified_ms: modified_s.saturating_mul(1000), billed_days }
}

impl Store for CloudStore {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        let path = self.path(Operation::Put, name)?;
        let mut attributes = Attributes::new();
        if let Some(class) = &self.pack_class
            && name.as_str().starts_with("packs/")
        {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let limit = SILENCE + Duration::from_secs(bytes.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let payload = Bytes::copy_from_slice(bytes).into();
        match self.call(limit, self.service.put_opts(&path, payload, options)) {
            Ok(_) => Ok(PutOutcome::Created),
            Err(failure) if failure.answer() == Answer::Taken => Ok(PutOutcome::AlreadyExists),
            Err(failure) => Err(self.fail(Operation::Put, name.as_str(), failure)),
        }
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(Operation::Get, name)?;
        let fail = |failure| self.fail_on(Operation::Get, name, failure);
        let answer = self.open(&path, None).map_err(fail)?;
        let length_bytes = answer.meta.size;
        if length_bytes > max_length_bytes {
            let object = name.clone();
            return Err(StoreError::TooLarge { object, length_bytes, limit_bytes: max_length_bytes });
        }
        self.read(answer, length_bytes).map_err(fail)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(Operation::GetRange, name)?;
        let fail = |failure| self.fail_on(Operation::GetRange, name, failure);
        let truncated = |length_bytes| StoreError::Truncated {
            object: name.clone(),
            offset,
            wanted_bytes: length,
            length_bytes,
        };
        // No request can ask for nothing, or for what lies beyond all numbers: then the length alone tells.
        let mut doubt = Failure::WrongLength;
        if let Some(end) = offset.checked_add(length).filter(|_| length > 0) {
            match self.open(&path, Some(GetRange::Bounded(offset..end))) {
                Ok(answer) if answer.range == (offset..end) => {
                    return self.read(answer, length).map_err(fail);
                }
                Ok(answer) => return Err(truncated(answer.meta.size)),
                Err(failure) if failure.answer() == Answer::BeyondEnd => {}
                // The emulator of Azure gives the range that begins at the end, and ends before it.
                Err(failure) if failure.is_nonsense() => doubt = failure,
                Err(failure) => return Err(fail(failure)),
            }
        }
        let length_bytes = self.stat(name)?.length_bytes;
        match offset.checked_add(length) {
            Some(end) if end <= length_bytes && length == 0 => Ok(Vec::new()),
            Some(end) if end <= length_bytes => Err(fail(doubt)),
            _ => Err(truncated(length_bytes)),
        }
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let path = self.path(Operation::Stat, name)?;
        let meta = self.call(SILENCE, self.service.head(&path));
        meta.map(|meta| info(&meta, self.billed_days(name)))
            .map_err(|failure| self.fail_on(Operation::Stat, name, failure))
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_on(prefix, None, visit)
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_on(prefix, Some(after), visit)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let path = self.path(Operation::Delete, name)?;
        self.call(SILENCE, self.service.delete(&path))
            .map_err(|failure| self.fail_on(Operation::Delete, name, failure))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}
