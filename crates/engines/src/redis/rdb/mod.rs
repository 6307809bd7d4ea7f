//! The format in which Redis and Valkey write all that they hold: read, checked, brought into one order, and written again.
//!
//! A server writes the same data in another order and with other encodings after each start. The *canonical* form has keys
//! sorted, members of hash tables sorted, no compression, and nothing of when a key was last used ([`copy_value`]); the
//! *normal* form is what a value means, whichever encoding it has ([`normal`]).

mod blob;
mod code;
mod copy;
mod crc64;
mod error;
mod input;
mod members;
pub mod normal;
mod output;
mod reader;
#[cfg(test)]
mod tests;
mod value;

pub use copy::copy_value;
pub use error::RdbError;
pub use input::Input;
pub use members::{Give, Members};
pub use reader::{Dump, Part, RdbReader};

pub(super) use code::{Kind, op};
pub(super) use copy::skip_value;
pub(super) use crc64::Crc64;
pub(super) use output::{write_length, write_string};
pub(super) use value::{read_expiry, read_string};
