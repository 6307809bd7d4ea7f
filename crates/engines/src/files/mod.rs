//! The files engine's two halves that know only the file system: reading trees of files, and writing them back.
//!
//! - [`Walk`] streams what lies under some roots as [`TreeEntry`](strongroom_format::tree_entry::TreeEntry)s in
//!   the order of a snapshot's tree; [`OpenFile`] reads one of its regular files, hole by hole.
//! - [`DirectoryTarget`] takes entries in the same order and recreates them below a directory, which nothing it
//!   writes can leave.
//!
//! - [`Files`] is the engine made of the first half, [`restore`] the workflow made of the second.
//!
//! The decision that shapes both: everything is reached *relative to an open folder and without following
//! symbolic links*, so that whoever can rename files below a root or a target cannot make a backup read, or a
//! restore write, elsewhere.

mod attributes;
mod backup;
mod exclude;
mod folders;
mod hard_links;
mod metadata;
mod open;
mod owners;
mod restore;
mod roots;
mod target;
mod target_error;
#[cfg(test)]
mod test_tree;
mod verify;
mod walk;

pub use attributes::Attribute;
pub use backup::Files;
pub(crate) use backup::{FilesRun, ParentTree};
pub use exclude::{ExcludeError, ExcludeReason, Excludes};
pub use hard_links::HardLinks;
pub use open::{Extent, OpenFile};
pub use restore::{FilesReport, Filter, RestoreOptions, Trouble, restore};
pub use target::{Created, DirectoryTarget, Overwrite, TargetFile, TargetOptions};
pub use target_error::{Found, TargetError, TargetWarning, Warnings};
pub use verify::verify;
pub use walk::{Walk, WalkError, WalkOptions, Walked, WalkedEntry, XattrScope};
