//! What snapshots and sources are called in a mounted folder.

use jiff::Timestamp;

/// A source's name as one component of a path: what a component cannot have is written as `%XX`.
pub(super) fn of_source(source: &str) -> String {
    let mut name = String::with_capacity(source.len());
    for c in source.chars() {
        match c {
            '/' | '%' => name.push_str(&format!("%{:02X}", c as u32)),
            c if c.is_control() => name.push_str(&format!("%{:02X}", c as u32)),
            c => name.push(c),
        }
    }
    match name.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => name,
    }
}

/// A moment, to the second, in a form that sorts and that no file system minds: `2026-11-22T17-52-13Z`.
pub(super) fn of_time(ns: i64) -> String {
    match Timestamp::from_nanosecond(ns.into()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string(),
        // Clocks that stand beyond the year 9999.
        Err(_) => ns.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_one_component_each_and_stay_apart() {
        assert_eq!(of_source("s3:bucket/prefix"), "s3:bucket%2Fprefix");
        assert_eq!(of_source("a%2Fb"), "a%252Fb");
        assert_eq!((of_source("."), of_source("..")), ("%2E".into(), "%2E%2E".into()));
        assert_eq!(of_source("a\nb"), "a%0Ab");
    }

    #[test]
    fn times_sort_as_names() {
        assert_eq!(of_time(1_795_369_933_123_456_789), "2026-11-22T17-52-13Z");
        assert!(of_time(0) < of_time(1_000_000_000));
    }
}
