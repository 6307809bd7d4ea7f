//! The web page and the endpoints of `serve`: pages are pure (what is known in, HTML out), the server answers from what is in memory.
//!
//! What this crate does not do: it opens no repository and no file, and nothing that is asked for is a path. Whoever serves
//! publishes a [`View`] now and then, and requests are answered from the last one.
//!
//! The decision that shapes it: no script. Pages are whole when they arrive, and a content security policy forbids all else.
//!
//! Start reading at [`Server`], then [`View`].

mod access;
mod limit;
mod page;
mod server;
mod view;

pub use access::{Access, AccessError, Token};
pub use server::{Listening, Server, ServerError, ServerOptions, TlsFiles, tls};
pub use view::{Facts, Reading, SnapshotView, Snapshots, StreamView, View};
