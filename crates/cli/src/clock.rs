//! The time by which schedules go. Tests drive it: a variable of theirs names a file that says what time it is.

use jiff::Timestamp;

/// Of tests alone: the path of a file that holds a moment, as RFC 3339 has it.
const TEST_CLOCK_VARIABLE: &str = "STRONGROOM_TEST_CLOCK";

/// Now.
pub(crate) fn now() -> Timestamp {
    let of_test =
        || std::fs::read_to_string(std::env::var_os(TEST_CLOCK_VARIABLE)?).ok()?.trim().parse().ok();
    of_test().unwrap_or_else(Timestamp::now)
}
