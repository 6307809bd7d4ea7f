//! The agent of `wal-push`: a process that stays, so that opening a repository and asking for a data key are not paid for
//! each segment, and that pushes ahead of what the server asks for.
//!
//! A server runs `wal-push` for one segment at a time, and waits for it. The agent is told each over a socket, looks which
//! others the server has ready (`pg_wal/archive_status/*.ready`), and pushes those too: when the server asks for them, they
//! are durable already. Whoever cannot reach an agent pushes by himself; a file that is pushed twice is there once.
//!
//! The decision that shapes it: the agent remembers what it pushed by all that tells a file from another that has its name
//! ([`FileKey`]), and only for as long as it runs. What it says is done is durable.

mod file_key;
mod message;
mod queue;
mod server;

pub use file_key::FileKey;
pub use message::{Reply, Request, ask};
pub use queue::{Job, Queue, Refusal};
pub use server::{Agent, AgentError};
