//! Keys: the hierarchy, sealing, signing, and how keys are wrapped for recipients.
//!
//! What this crate does not do: it knows no packs, snapshots or files; it takes bytes and gives bytes. Only
//! [`unlock`] reads a store, and only `keys/`.
//!
//! The decision that shapes it: three kinds of key, none derived from another. The *identity secret* names
//! things, the *metadata key* seals all but chunks, a *data key* (one a backup run) seals frames of chunks.
//! Every sealing derives a key of its own from a fresh salt, and commits to it, so that nonces cannot repeat
//! and no ciphertext opens under two keys.
//!
//! Start reading at [`mod@derive`], then [`seal`] and [`frame`]. Implements `format-spec/sealing.md` and the
//! sealing of `format-spec/wal.md`.

pub mod derive;
mod error;
pub mod frame;
pub mod key_file;
pub mod kms;
pub mod local;
pub mod random;
pub mod seal;
mod secret;
pub mod sign;
pub mod unlock;
pub mod wal;
pub mod wrap;

pub use error::KeysError;
pub use secret::Secret;
