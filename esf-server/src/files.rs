//! Files that are sent and files that come: the names, the half ones, and what can go wrong with a disk.

mod input;
mod name;
mod part;
mod receive;

pub(crate) use input::Input;
pub(crate) use receive::{Inbox, NotReceived, Received};
