//! What was probably meant.

/// How alike a name must be, of 1.
const ALIKE: f64 = 0.75;

/// The known name that is most like what was written, if one is.
pub fn suggestion<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|name| (strsim::jaro_winkler(written, name), name))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

/// The same for people: `is X meant?`, or all that there is.
pub fn meant<'n>(written: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    match suggestion(written, known.clone()) {
        Some(meant) => format!("is `{meant}` meant?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_it_and_what_is_far_is_none() {
        let known = ["days", "keep_last", "keep_daily", "compliance_days"];
        assert_eq!(suggestion("day", known.into_iter()), Some("days"));
        assert_eq!(suggestion("keep_lst", known.into_iter()), Some("keep_last"));
        assert_eq!(suggestion("bucket", known.into_iter()), None);
    }
}
