//! Writing to standard output: whoever reads it may stop reading (`| head`), and it may be a full disk.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Writes to standard output. A closed pipe is no error; any other failure makes the command fail at its end.
pub(crate) fn write(text: std::fmt::Arguments<'_>) {
    if let Err(error) = std::io::stdout().lock().write_fmt(text)
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        eprintln!("error: cannot write to standard output: {error}");
    }
}

/// Whether something could not be written.
pub(crate) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// As `println!`.
macro_rules! line {
    ($($arguments:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($arguments)*))) };
}

/// As `print!`.
macro_rules! text {
    ($($arguments:tt)*) => { $crate::output::write(format_args!($($arguments)*)) };
}

pub(crate) use {line, text};
