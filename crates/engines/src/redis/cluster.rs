//! Clusters: which master has which slots.

use std::ops::RangeInclusive;

use strongroom_repository::monitor::Monitor;

use super::connection::Connection;
use super::error::RedisError;
use super::target::Target;

/// Of every cluster.
pub(super) const SLOTS: u16 = 16384;

/// A master.
#[derive(Debug, Clone)]
pub(super) struct Master {
    pub(super) target: Target,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

/// What a master says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    slots: Vec<RangeInclusive<u16>>,
    /// Of its configuration: another one when slots came or went.
    epoch: String,
}

const MOVING: &str = "slots are being moved; run it again afterwards";

/// What each of these masters says that it has. Of a slot whose keys are on their way, only the two masters between which they
/// move know it; so all are asked.
///
/// # Errors
/// `Cluster` when slots are being moved, or were since the masters were listed; as [`Connection::ask`].
pub(super) fn held(masters: &[Master], monitor: &dyn Monitor) -> Result<Vec<Held>, RedisError> {
    let ask = |master: &Master| {
        let mut connection = Connection::open(&master.target, monitor)?;
        let text = connection.ask(&[b"CLUSTER", b"NODES"])?.text();
        let held =
            own(&text).map_err(|why| RedisError::Cluster { server: master.target.to_string(), why })?;
        match held.slots == master.slots {
            true => Ok(held),
            false => Err(RedisError::Cluster { server: master.target.to_string(), why: MOVING.into() }),
        }
    };
    masters.iter().map(ask).collect()
}

/// Of the node that was asked, or why it cannot be read.
fn own(nodes: &str) -> Result<Held, String> {
    for line in nodes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, flags, _, _, _, epoch, _, slots @ ..] = words.as_slice() else { continue };
        let has = |wanted: &str| flags.split(',').any(|flag| flag == wanted);
        if !has("myself") {
            continue;
        }
        if !has("master") {
            return Err("it is no master any more; run it again".into());
        }
        if slots.iter().any(|slot| slot.starts_with('[')) {
            return Err(MOVING.into());
        }
        let slots: Option<Vec<_>> = slots.iter().map(|slots| range_of(slots)).collect();
        let slots = slots.ok_or_else(|| format!("no slots in `{line}`"))?;
        return Ok(Held { slots, epoch: (*epoch).to_owned() });
    }
    Err("it does not know itself".into())
}

/// All masters that have slots, in the order of these.
///
/// # Errors
/// `Cluster` when it is not whole or slots are being moved; as [`Connection::ask`].
pub(super) fn masters(connection: &mut Connection<'_>, target: &Target) -> Result<Vec<Master>, RedisError> {
    let text = connection.ask(&[b"CLUSTER", b"NODES"])?.text();
    let wrong = |why: String| RedisError::Cluster { server: connection.server.clone(), why };
    let mut masters = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else { continue };
        if !flags.split(',').any(|flag| flag == "master") || slots.is_empty() {
            continue;
        }
        let (host, port) = address_of(address).ok_or_else(|| wrong(format!("no address in `{line}`")))?;
        if flags.split(',').any(|flag| flag.starts_with("fail") || flag == "noaddr") {
            return Err(wrong(format!("master {host}:{port} has failed")));
        }
        if slots.iter().any(|slot| slot.starts_with('[')) {
            return Err(wrong(MOVING.into()));
        }
        let slots: Option<Vec<_>> = slots.iter().map(|slots| range_of(slots)).collect();
        let slots = slots.ok_or_else(|| wrong(format!("no slots in `{line}`")))?;
        // A node alone may know no address of its own.
        let host = if host.is_empty() { host_of(target) } else { host };
        masters.push(Master { target: target.at(&host, port), slots });
    }
    masters.sort_by_key(|master| master.slots.first().map(|slots| *slots.start()));
    let covered: usize =
        masters.iter().flat_map(|master| &master.slots).map(|slots| slots.clone().count()).sum();
    if covered != usize::from(SLOTS) {
        return Err(wrong(format!("{covered} of its {SLOTS} slots have a master")));
    }
    Ok(masters)
}

fn host_of(target: &Target) -> String {
    match &target.place {
        super::target::Place::Tcp { host, .. } => host.clone(),
        _ => "127.0.0.1".into(),
    }
}

/// `HOST:PORT@BUS,NAME`
fn address_of(text: &str) -> Option<(String, u16)> {
    let (address, name) = match text.split_once(',') {
        Some((address, rest)) => {
            (address, rest.split(',').next().filter(|name| !name.is_empty() && !name.contains('=')))
        }
        None => (text, None),
    };
    let (host, port) = address.split('@').next()?.rsplit_once(':')?;
    Some((name.unwrap_or(host).to_owned(), port.parse().ok()?))
}

fn range_of(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some(first..=last)
}

/// The slot of a key: of what stands in its first braces, if there is anything.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[open..].iter().position(|byte| *byte == b'}')?;
        key.get(open..open + length).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// That of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
    }

    #[test]
    fn a_master_tells_of_slots_that_are_on_their_way() {
        let other = "b 127.0.0.1:2@12 master - 0 1 2 connected 8192-16383 [9->-a]\n";
        let line =
            |flags: &str, slots: &str| format!("{other}a 127.0.0.1:1@11 {flags} - 0 0 7 connected {slots}\n");
        let held = own(&line("myself,master", "0-8191")).unwrap();
        assert_eq!((held.slots, held.epoch.as_str()), (vec![0..=8191], "7"));
        assert_eq!(own(&line("myself,master", "")).unwrap().slots, []);
        for (flags, slots) in [
            ("myself,master", "0-8191 [5->-b]"),
            ("myself,master", "0-8191 [9-<-b]"),
            ("myself,slave", ""),
            ("master", "0-8191"),
            ("myself,master", "x"),
        ] {
            assert!(own(&line(flags, slots)).is_err(), "{flags} {slots}");
        }
    }

    #[test]
    fn addresses_come_in_several_forms() {
        assert_eq!(address_of("10.0.0.1:6379@16379").unwrap(), ("10.0.0.1".into(), 6379));
        assert_eq!(address_of("10.0.0.1:6379@16379,db1").unwrap(), ("db1".into(), 6379));
        assert_eq!(address_of("10.0.0.1:6379@16379,,shard-id=1").unwrap(), ("10.0.0.1".into(), 6379));
        assert_eq!(address_of("::1:6379@16379").unwrap(), ("::1".into(), 6379));
        assert_eq!((range_of("0-5460"), range_of("7"), range_of("5-4")), (Some(0..=5460), Some(7..=7), None));
    }
}
