//! Rule K3, played in every order.
#![allow(clippy::print_stdout, reason = "`--nocapture` shows how many states there are, and the histories")]

use strongroom_model::logs::{Logs, Part};

#[test]
fn files_of_logs_are_readable() {
    let (states, broken) = Logs { without: None }.check();
    println!("log archives: {states} states");
    assert_eq!(broken, None);
}

#[test]
fn without_reading_on_or_listing_once_more_a_file_is_lost() {
    for part in [Part::WritersReadOn, Part::ListedOnceMore] {
        let (states, broken) = Logs { without: Some(part) }.check();
        let Some(steps) = broken else { panic!("{part:?} is not needed") };
        println!("without {part:?}, in {states} states: {}", steps.join("; "));
    }
}

/// Their wraps stay as long as objects are under them: what it costs is that files are stored once more.
#[test]
fn keys_in_use_that_are_retired_lose_nothing() {
    assert_eq!(Logs { without: Some(Part::KeysInUseStay) }.check().1, None);
}
