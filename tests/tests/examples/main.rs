//! The examples, as their READMEs have them: each with its own configuration, its real engines, a repository in MinIO, a key of KMS, and
//! people who are told. Backups that are due, by the test's clock; a failure and who is told; restores of all and of parts; restore tests;
//! retention, a hold, the report and the audit trail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod aitbc;
mod aivo;
mod chatcard;
mod comply_ai;
mod save_it;
mod stage;
