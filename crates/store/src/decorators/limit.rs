//! Bounds on what a store is asked for: bytes and requests per second, requests at once.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::capability::{Archive, History, ObjectLock, Retention, ThawState, Version};
use crate::decorators::lacking;
use crate::decorators::timer::{SystemTimer, Timer};
use crate::error::{Operation, StoreError};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutOutcome, Store};

/// What may be used in one go after a time of idleness.
const BURST: Duration = Duration::from_secs(1);

/// A list is charged one request for this many names: a page of most object stores.
const NAMES_PER_REQUEST: u64 = 1000;

/// The bounds; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of objects put.
    pub upload_bytes_per_second: Option<NonZeroU64>,
    /// Bytes of objects read.
    pub download_bytes_per_second: Option<NonZeroU64>,
    /// Calls, and pages of lists.
    pub requests_per_second: Option<NonZeroU64>,
    /// Calls at the same time.
    pub connections: Option<NonZeroUsize>,
}

/// Makes callers wait until the limits let them go on. The limits hold for all threads together.
///
/// What is put, and ranges, are paid for before they are transferred; an object of unknown length before it is handed
/// over. So the average never lies above a limit, though a single object goes at the speed of the line.
pub struct LimitStore<S> {
    inner: S,
    timer: Arc<dyn Timer>,
    upload: Option<Bucket>,
    download: Option<Bucket>,
    requests: Option<Bucket>,
    connections: Option<Gate>,
}

impl<S: Store> LimitStore<S> {
    /// With the system's clock.
    pub fn new(inner: S, limits: Limits) -> Self {
        Self::with(inner, limits, Arc::new(SystemTimer::new()))
    }

    /// With a clock of the caller's.
    pub fn with(inner: S, limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self {
            inner,
            timer,
            upload: limits.upload_bytes_per_second.map(Bucket::new),
            download: limits.download_bytes_per_second.map(Bucket::new),
            requests: limits.requests_per_second.map(Bucket::new),
            connections: limits.connections.map(Gate::new),
        }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn pay(&self, bucket: Option<&Bucket>, amount: u64) {
        let Some(bucket) = bucket else { return };
        let wait = bucket.take(amount, self.timer.elapsed());
        if !wait.is_zero() {
            self.timer.sleep(wait);
        }
    }

    /// Pays for one request, and then takes a connection: nobody waits for time while holding one.
    fn request(&self) -> Option<Permit<'_>> {
        self.pay(self.requests.as_ref(), 1);
        self.connections.as_ref().map(Gate::enter)
    }

    fn list_with(
        &self,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        list: impl FnOnce(
            &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut permit = self.request();
        let mut visited = 0_u64;
        list(&mut |name, info| {
            // The visitor may call this store, with as few as one connection.
            permit = None;
            visited = visited.wrapping_add(1);
            if visited.is_multiple_of(NAMES_PER_REQUEST) {
                self.pay(self.requests.as_ref(), 1);
            }
            let answer = visit(name, info);
            permit = self.connections.as_ref().map(Gate::enter);
            answer
        })
    }
}

/// A token bucket that may go into debt: whoever took more than there was waits until it is paid back, and whoever
/// comes later waits behind.
struct Bucket {
    per_second: NonZeroU64,
    /// When the bucket was, or will be, empty.
    empty_at: Mutex<Duration>,
}

impl Bucket {
    fn new(per_second: NonZeroU64) -> Self {
        Self { per_second, empty_at: Mutex::new(Duration::ZERO) }
    }

    /// Takes an amount, and says how long to wait before using it.
    fn take(&self, amount: u64, now: Duration) -> Duration {
        let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.get());
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        *empty_at = (*empty_at).max(now.saturating_sub(BURST)).saturating_add(cost);
        empty_at.saturating_sub(now)
    }
}

/// Lets so many in at the same time.
struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(connections: NonZeroUsize) -> Self {
        Self { free: Mutex::new(connections.get()), changed: Condvar::new() }
    }

    fn enter(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit { gate: self }
    }
}

struct Permit<'a> {
    gate: &'a Gate,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.gate.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.gate.changed.notify_one();
    }
}

impl<S: Store> Store for LimitStore<S> {
    fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
        self.pay(self.upload.as_ref(), bytes.len() as u64);
        let _permit = self.request();
        self.inner.put_if_absent(name, bytes)
    }

    fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let permit = self.request();
        let bytes = self.inner.get(name, max_length_bytes)?;
        drop(permit);
        self.pay(self.download.as_ref(), bytes.len() as u64);
        Ok(bytes)
    }

    fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
        // No range is longer than an object may be: what asks for more is answered with an error.
        if length <= isize::MAX.unsigned_abs() as u64 {
            self.pay(self.download.as_ref(), length);
        }
        let _permit = self.request();
        self.inner.get_range(name, offset, length)
    }

    fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let _permit = self.request();
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_with(visit, |visit| self.inner.list(prefix, visit))
    }

    fn list_after(
        &self,
        prefix: &str,
        after: &ObjectName,
        visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.list_with(visit, |visit| self.inner.list_after(prefix, after, visit))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let _permit = self.request();
        self.inner.delete(name)
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history().map(|_| self as &dyn History)
    }

    fn retention(&self) -> Option<&dyn Retention> {
        self.inner.retention().map(|_| self as &dyn Retention)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive().map(|_| self as &dyn Archive)
    }
}

impl<S: Store> History for LimitStore<S> {
    fn versions(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::Versions, name))?;
        let _permit = self.request();
        history.versions(name)
    }

    fn deleted(&self, prefix: &str) -> Result<Vec<ObjectName>, StoreError> {
        let Some(history) = self.inner.history() else { return Ok(Vec::new()) };
        let _permit = self.request();
        history.deleted(prefix)
    }

    fn get_version(&self, name: &ObjectName, id: &str, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::Get, name))?;
        let permit = self.request();
        let bytes = history.get_version(name, id, max_length_bytes)?;
        drop(permit);
        self.pay(self.download.as_ref(), bytes.len() as u64);
        Ok(bytes)
    }

    fn make_newest(&self, name: &ObjectName, id: &str) -> Result<(), StoreError> {
        let history = self.inner.history().ok_or_else(|| lacking(self, Operation::MakeNewest, name))?;
        let _permit = self.request();
        history.make_newest(name, id)
    }
}

impl<S: Store> Retention for LimitStore<S> {
    fn set(&self, lock: Option<ObjectLock>) {
        if let Some(retention) = self.inner.retention() {
            retention.set(lock);
        }
    }

    fn extend(&self, name: &ObjectName, until_ms: u64) -> Result<(), StoreError> {
        let retention = self.inner.retention().ok_or_else(|| lacking(self, Operation::Retain, name))?;
        let _permit = self.request();
        retention.extend(name, until_ms)
    }

    fn retain_until(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let retention = self.inner.retention().ok_or_else(|| lacking(self, Operation::Stat, name))?;
        let _permit = self.request();
        retention.retain_until(name)
    }
}

impl<S: Store> Archive for LimitStore<S> {
    fn thaw(&self, name: &ObjectName, days: u32) -> Result<(), StoreError> {
        let archive = self.inner.archive().ok_or_else(|| lacking(self, Operation::Thaw, name))?;
        let _permit = self.request();
        archive.thaw(name, days)
    }

    fn state(&self, name: &ObjectName) -> Result<ThawState, StoreError> {
        let archive = self.inner.archive().ok_or_else(|| lacking(self, Operation::Stat, name))?;
        let _permit = self.request();
        archive.state(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::{ManualTimer, MemoryStore, conformance};

    fn name(name: &str) -> ObjectName {
        ObjectName::new(name).unwrap()
    }

    fn per_second(amount: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(amount)
    }

    fn limited(limits: Limits) -> (LimitStore<MemoryStore>, Arc<ManualTimer>) {
        let timer = Arc::new(ManualTimer::new());
        (LimitStore::with(MemoryStore::new(), limits, Arc::clone(&timer) as _), timer)
    }

    #[test]
    fn limits_change_nothing_but_time() {
        let limits = Limits {
            upload_bytes_per_second: per_second(1000),
            download_bytes_per_second: per_second(1000),
            requests_per_second: per_second(10),
            connections: NonZeroUsize::new(1),
        };
        conformance::suite(&limited(limits).0).unwrap();
        let (store, timer) = limited(Limits::default());
        conformance::suite(&store).unwrap();
        assert_eq!(timer.elapsed(), Duration::ZERO);
    }

    #[test]
    fn uploads_wait_before_they_begin() {
        let (store, timer) =
            limited(Limits { upload_bytes_per_second: per_second(1000), ..Limits::default() });
        for (number, elapsed_s) in [(0, 1), (1, 2), (2, 3)] {
            let _ = store.put_if_absent(&name(&format!("{number}")), &[0; 1000]).unwrap();
            assert_eq!(timer.elapsed(), Duration::from_secs(elapsed_s), "{number}");
        }
        // Larger than what the bucket holds.
        let _ = store.put_if_absent(&name("large"), &[0; 60_000]).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_secs(63));
        // What is idle saves up for a second, and no longer.
        timer.sleep(Duration::from_secs(100));
        let _ = store.put_if_absent(&name("burst"), &[0; 1000]).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_secs(163));
        let _ = store.put_if_absent(&name("behind"), &[0; 500]).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_millis(163_500));
        // Reading is another bucket.
        store.get(&name("large"), 60_000).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_millis(163_500));
    }

    #[test]
    fn downloads_are_paid_for() {
        let (store, timer) =
            limited(Limits { download_bytes_per_second: per_second(1000), ..Limits::default() });
        let _ = store.put_if_absent(&name("a"), &[0; 10_000]).unwrap();
        assert_eq!(timer.elapsed(), Duration::ZERO);
        store.get(&name("a"), 10_000).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_secs(10));
        store.get_range(&name("a"), 1, 5000).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_secs(15));
        // What is refused costs nothing, however much it asks for.
        store.get_range(&name("a"), 1, u64::MAX).unwrap_err();
        store.get(&name("a"), 1).unwrap_err();
        assert_eq!(timer.elapsed(), Duration::from_secs(15));
    }

    #[test]
    fn requests_are_counted() {
        let (store, timer) = limited(Limits { requests_per_second: per_second(10), ..Limits::default() });
        for number in 0..100 {
            let _ = store.put_if_absent(&name(&format!("{number}")), b"").unwrap();
        }
        assert_eq!(timer.elapsed(), Duration::from_secs(10));
        for _ in 0..10 {
            store.stat(&name("1")).unwrap();
            store.list("", &mut |_, _| Ok(())).unwrap();
        }
        assert_eq!(timer.elapsed(), Duration::from_secs(12));
    }

    #[test]
    fn pages_of_a_list_are_requests() {
        let (store, timer) = limited(Limits { requests_per_second: per_second(1), ..Limits::default() });
        for number in 0..2500 {
            let _ = store.inner().put_if_absent(&name(&format!("{number}")), b"").unwrap();
        }
        store.list("", &mut |_, _| Ok(())).unwrap();
        assert_eq!(timer.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn threads_share_the_limits() {
        let (store, timer) =
            limited(Limits { upload_bytes_per_second: per_second(1000), ..Limits::default() });
        thread::scope(|scope| {
            for number in 0..8 {
                let store = &store;
                scope.spawn(move || store.put_if_absent(&name(&format!("{number}")), &[0; 1000]).unwrap());
            }
        });
        // Each waits for its own time at least; sleeping moves everybody's time here.
        assert!(timer.elapsed() >= Duration::from_secs(8), "{:?}", timer.elapsed());
    }

    #[test]
    fn only_so_many_calls_run_at_once() {
        /// Counts the calls that are under way.
        struct Counting {
            inner: MemoryStore,
            now: AtomicUsize,
            most: AtomicUsize,
            meet: Barrier,
        }

        impl Store for Counting {
            fn put_if_absent(&self, name: &ObjectName, bytes: &[u8]) -> Result<PutOutcome, StoreError> {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                // Two are in here together, or nobody comes on.
                self.meet.wait();
                let outcome = self.inner.put_if_absent(name, bytes);
                self.now.fetch_sub(1, Ordering::SeqCst);
                outcome
            }

            fn get(&self, name: &ObjectName, max_length_bytes: u64) -> Result<Vec<u8>, StoreError> {
                self.inner.get(name, max_length_bytes)
            }

            fn get_range(&self, name: &ObjectName, offset: u64, length: u64) -> Result<Vec<u8>, StoreError> {
                self.inner.get_range(name, offset, length)
            }

            fn stat(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
                self.inner.stat(name)
            }

            fn list(
                &self,
                prefix: &str,
                visit: &mut dyn FnMut(ObjectName, ObjectInfo) -> Result<(), StoreError>,
            ) -> Result<(), StoreError> {
                self.inner.list(prefix, visit)
            }

            fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
                self.inner.delete(name)
            }

            fn location(&self) -> String {
                self.inner.location()
            }
        }

        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counting = Counting { inner: MemoryStore::new(), now, most, meet: Barrier::new(2) };
        let limits = Limits { connections: NonZeroUsize::new(2), ..Limits::default() };
        let store = LimitStore::new(counting, limits);
        thread::scope(|scope| {
            for number in 0..10 {
                let store = &store;
                scope.spawn(move || store.put_if_absent(&name(&format!("{number}")), b"").unwrap());
            }
        });
        assert_eq!(store.inner().most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_visitor_may_call_with_one_connection() {
        let (store, _) = limited(Limits { connections: NonZeroUsize::new(1), ..Limits::default() });
        for object in ["a", "b", "c"] {
            let _ = store.put_if_absent(&name(object), b"").unwrap();
        }
        store.list("", &mut |name, _| store.delete(&name)).unwrap();
        assert!(store.inner().is_empty());
    }
}
