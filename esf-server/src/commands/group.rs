//! `esf group`: the groups and who is in them, in the data directory. A server that runs notices what is changed here.

use esf_tokio::GroupId;
use serde_json::json;

use super::{
    contact::{note_strangers, print_user},
    data::{directory, told},
};
use crate::{
    cli::{Group, GroupCommand},
    exit::{Code, Exit},
    output::{self, printable},
    store::{Joined, Store},
};

pub(crate) fn run(args: Group) -> Result<(), Exit> {
    let directory = directory(args.data)?;
    let open = || told(Store::open(&directory));
    match args.command {
        GroupCommand::Create { group } => {
            if !told(told(Store::create(&directory))?.create_group(&group))? {
                let reason = format!("there is a group {} already", printable(&group));
                return Err(Exit::new(Code::ThereAlready, reason));
            }
            output::line(&format!("made the group {}", printable(&group)))
        }
        GroupCommand::Add { group, names } => {
            let mut store = open()?;
            names.iter().try_for_each(|name| {
                let (shown, of) = (printable(name), printable(&group));
                match told(store.add_member(&group, name))? {
                    Joined::Now => {}
                    Joined::Before => {
                        return Err(Exit::new(Code::ThereAlready, format!("{shown} is in {of} already")));
                    }
                    Joined::NoGroup => return Err(there_is_none(&group)),
                }
                note_strangers(&store, [name])?;
                output::line(&format!("{shown} is in {of} now"))
            })
        }
        GroupCommand::Remove { group, names } => {
            let mut store = open()?;
            names.iter().try_for_each(|name| {
                let (shown, of) = (printable(name), printable(&group));
                if !told(store.remove_member(&group, name))? {
                    let reason = format!("{shown} is not in {of}; `esf group list {of}` shows who is");
                    return Err(Exit::new(Code::NotThere, reason));
                }
                output::line(&format!("{shown} is not in {of} any more"))
            })
        }
        GroupCommand::List { group: Some(group), json } => {
            let members = told(open()?.members(&group))?.ok_or_else(|| there_is_none(&group))?;
            members.iter().try_for_each(|member| print_user(member, json))
        }
        GroupCommand::List { group: None, json } => told(open()?.groups())?.iter().try_for_each(|group| {
            output::line(&if json {
                json!({ "group": group.id, "members": group.members }).to_string()
            } else {
                format!("{}\t{}", printable(&group.id), group.members)
            })
        }),
        GroupCommand::Delete { group } => {
            if !told(open()?.delete_group(&group))? {
                return Err(there_is_none(&group));
            }
            output::line(&format!("there is no group {} any more", printable(&group)))
        }
    }
}

fn there_is_none(group: &GroupId) -> Exit {
    let group = printable(group);
    Exit::new(
        Code::NotThere,
        format!(
            "there is no group {group}; `esf group create` makes one, and `esf group list` shows those that there are"
        ),
    )
}
