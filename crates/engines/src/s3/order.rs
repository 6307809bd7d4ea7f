//! Objects in the order of a snapshot's entries.
//!
//! S3 lists keys in the order of their bytes: `a.txt` before `a/b`. A tree counts `/` as the smallest byte: `a/b` before
//! `a.txt`. So a key waits for as long as something may come that goes before it: that is what lies below a beginning of
//! the key that a byte smaller than `/` follows. Mostly the next key says that nothing will. Where too many wait, what
//! they wait for is asked for, and gone through first. What waits is bounded, then, and the listing is gone through once.

use std::collections::BTreeMap;

use strongroom_format::path::EntryPath;

/// Most objects that wait.
pub(super) const MOST_HELD: usize = 4096;

/// One that is listed.
pub(super) trait Listed {
    /// Its key.
    fn key(&self) -> &str;
    /// Where it lies in the snapshot.
    fn path(&self) -> &EntryPath;
}

/// Where objects are listed, a page at a time.
pub(super) trait Pages {
    /// One object.
    type Item: Listed;
    /// Why there is no page.
    type Error;

    /// The next objects whose keys begin with `prefix`, in the order of the bytes of their keys. None at the end.
    ///
    /// # Errors
    /// When there is no page.
    fn next(&mut self, prefix: &str, after: &Position) -> Result<Option<Page<Self::Item>>, Self::Error>;
}

/// How far a listing came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Behind this key; at the beginning, if it is empty.
    pub(super) key: String,
    /// Behind this version of it.
    pub(super) version: Option<String>,
    /// So many older versions of that key came before.
    pub(super) older: u64,
}

impl Position {
    /// Behind all keys that begin with this.
    pub(super) fn behind(prefix: &str) -> Self {
        Self { key: format!("{prefix}{}", char::MAX), ..Self::default() }
    }
}

/// A part of a listing.
pub(super) struct Page<I> {
    pub(super) items: Vec<I>,
    /// Where to go on; none if this was the last.
    pub(super) next: Option<Position>,
}

/// A listing of one prefix, under way.
struct Level<I> {
    prefix: String,
    /// None at the end.
    next: Option<Position>,
    /// Read, in the order of the listing.
    page: std::vec::IntoIter<I>,
    /// Read, and waiting.
    held: BTreeMap<EntryPath, I>,
    /// The key that was read last.
    frontier: String,
    /// Beginnings of keys below which all was gone through, or nothing is; each with its `/`.
    done: Vec<String>,
}

impl<I> Level<I> {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            next: Some(Position::default()),
            page: Vec::new().into_iter(),
            held: BTreeMap::new(),
            frontier: String::new(),
            done: Vec::new(),
        }
    }

    fn is_done(&self, key: &str) -> bool {
        self.done.iter().any(|done| key.starts_with(done.as_str()))
    }
}

/// See the [module](self).
pub(super) struct InTreeOrder<P: Pages> {
    pages: P,
    /// The last is that which is gone through; those before wait for it.
    levels: Vec<Level<P::Item>>,
    most_held: usize,
}

impl<P: Pages> InTreeOrder<P> {
    /// All objects whose keys begin with `prefix`, which is empty or ends with `/`.
    pub(super) fn new(pages: P, prefix: &str, most_held: usize) -> Self {
        Self { pages, levels: vec![Level::new(prefix.to_owned())], most_held }
    }

    /// The next one.
    ///
    /// # Errors
    /// When a page cannot be had.
    pub(super) fn next_item(&mut self) -> Result<Option<P::Item>, P::Error> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let is_at_end = level.next.is_none() && level.page.len() == 0;
            if let Some((_, first)) = level.held.first_key_value() {
                let awaited = if is_at_end { None } else { awaited(level, first.key()) };
                match awaited {
                    None => return Ok(level.held.pop_first().map(|(_, item)| item)),
                    Some(prefix) if level.held.len() >= self.most_held => {
                        level.done.push(prefix.clone());
                        self.levels.push(Level::new(prefix));
                        continue;
                    }
                    Some(_) => {}
                }
            }
            let level = match self.levels.last_mut() {
                Some(_) if is_at_end => {
                    self.levels.pop();
                    continue;
                }
                Some(level) => level,
                None => return Ok(None),
            };
            if let Some(item) = level.page.next() {
                level.frontier.clear();
                level.frontier.push_str(item.key());
                if !level.is_done(item.key()) {
                    level.held.insert(item.path().clone(), item);
                }
                continue;
            }
            turn(&mut self.pages, level)?;
        }
    }
}

/// Reads the next page.
fn turn<P: Pages>(pages: &mut P, level: &mut Level<P::Item>) -> Result<(), P::Error> {
    let Some(position) = level.next.take() else { return Ok(()) };
    let Some(page) = pages.next(&level.prefix, &position)? else { return Ok(()) };
    level.next = page.next;
    if let (Some(next), Some(last)) = (&mut level.next, page.items.last()) {
        let done = level.done.iter().find(|done| last.key().starts_with(done.as_str()));
        if let Some(done) = done
            && next.key.starts_with(done.as_str())
        {
            let behind = Position::behind(done);
            // A key behind the greatest letter there is.
            if next.key < behind.key {
                *next = behind;
            }
        }
    }
    level.page = page.items.into_iter();
    // What was passed is not asked for any more.
    let frontier = &level.frontier;
    level.done.retain(|done| frontier.starts_with(done.as_str()) || done.as_str() > frontier.as_str());
    Ok(())
}

/// The first beginning, with its `/`, below which something may still come that goes before `key`.
fn awaited<I>(level: &Level<I>, key: &str) -> Option<String> {
    for (at, byte) in key.bytes().enumerate().skip(level.prefix.len()) {
        // A letter of several bytes begins with none this small.
        if byte >= b'/' {
            continue;
        }
        let start = &key[..at];
        let frontier = level.frontier.as_bytes();
        let is_passed = match frontier.strip_prefix(start.as_bytes()) {
            Some([next, ..]) => *next > b'/',
            // The frontier is never before a key that waits.
            Some([]) => false,
            None => true,
        };
        let with_slash = || format!("{start}/");
        if !is_passed && !level.done.iter().any(|done| *done == with_slash()) {
            return Some(with_slash());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::s3::key::path_of_key;

    struct Key(String, EntryPath);

    impl Listed for Key {
        fn key(&self) -> &str {
            &self.0
        }

        fn path(&self) -> &EntryPath {
            &self.1
        }
    }

    /// A bucket, and how many pages were read of it.
    struct Bucket<'k> {
        keys: &'k BTreeSet<String>,
        page: usize,
        read: usize,
    }

    impl Pages for Bucket<'_> {
        type Item = Key;
        type Error = ();

        fn next(&mut self, prefix: &str, after: &Position) -> Result<Option<Page<Key>>, ()> {
            self.read += 1;
            let mut found =
                self.keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after.key.as_str());
            let items: Vec<Key> = found
                .by_ref()
                .take(self.page)
                .map(|key| Key(key.clone(), path_of_key(key).unwrap()))
                .collect();
            let is_more = found.next().is_some();
            let next = items.last().filter(|_| is_more);
            let next = next.map(|last| Position { key: last.0.clone(), ..Position::default() });
            Ok(Some(Page { items, next }))
        }
    }

    fn listed(keys: &BTreeSet<String>, page: usize, most_held: usize) -> (Vec<String>, usize, usize) {
        let mut order = InTreeOrder::new(Bucket { keys, page, read: 0 }, "", most_held);
        let (mut found, mut most) = (Vec::new(), 0);
        while let Some(key) = order.next_item().unwrap() {
            found.push(key.0);
            most = most.max(order.levels.iter().map(|level| level.held.len()).max().unwrap_or(0));
        }
        (found, most, order.pages.read)
    }

    fn sorted(keys: &BTreeSet<String>) -> Vec<String> {
        let mut all: Vec<(EntryPath, String)> =
            keys.iter().map(|key| (path_of_key(key).unwrap(), key.clone())).collect();
        all.sort();
        all.into_iter().map(|(_, key)| key).collect()
    }

    proptest! {
        #[test]
        fn every_listing_is_put_in_order(
            keys in prop::collection::btree_set("[-/.0a]{1,6}", 0..40), page in 1_usize..7, most_held in 1_usize..9,
        ) {
            let (found, most, _) = listed(&keys, page, most_held);
            prop_assert_eq!(found, sorted(&keys));
            prop_assert!(most <= most_held);
        }
    }

    #[test]
    fn few_wait_and_few_pages_are_asked_for() {
        // What all of these wait for is not there.
        let mut keys: BTreeSet<String> = (0..20_000).map(|number| format!("log-{number:06}")).collect();
        let (found, most, read) = listed(&keys, 1000, 100);
        assert_eq!((found, most <= 100, read), (sorted(&keys), true, 21));
        // And here it is.
        keys.extend((0..5000).map(|number| format!("log/{number:06}")));
        let (found, _, read) = listed(&keys, 1000, 100);
        assert_eq!(found, sorted(&keys));
        assert!(read < 30, "{read}");
    }
}
