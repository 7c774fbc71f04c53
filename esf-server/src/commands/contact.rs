//! `esf contact`: who is whose contact, in the data directory. A server that runs notices what is changed here.

use esf_tokio::UserId;
use serde_json::json;

use super::data::{directory, told};
use crate::{
    cli::{Contact, ContactCommand},
    exit::{Code, Exit},
    output::{self, printable},
    store::{Problem, Store},
};

pub(crate) fn run(args: Contact) -> Result<(), Exit> {
    let directory = directory(args.data)?;
    match args.command {
        ContactCommand::Add { one, other } => {
            if one == other {
                return Err(Exit::new(Code::Usage, "nobody is a contact of their own; name two users"));
            }
            let mut store = told(Store::create(&directory))?;
            let (a, b) = (printable(&one), printable(&other));
            if !told(store.add_contact(&one, &other))? {
                return Err(Exit::new(Code::ThereAlready, format!("{a} and {b} are contacts already")));
            }
            note_strangers(&store, [&one, &other])?;
            output::line(&format!("{a} and {b} are contacts now"))
        }
        ContactCommand::Remove { one, other } => {
            let (a, b) = (printable(&one), printable(&other));
            if !told(told(Store::open(&directory))?.remove_contact(&one, &other))? {
                let reason = format!("{a} and {b} are no contacts; `esf contact list {a}` shows those that there are");
                return Err(Exit::new(Code::NotThere, reason));
            }
            output::line(&format!("{a} and {b} are no contacts any more"))
        }
        ContactCommand::List { name, json } => {
            let contacts = told(told(Store::open(&directory))?.contacts(&name))?;
            contacts.iter().try_for_each(|contact| print_user(contact, json))
        }
    }
}

/// A user in a list.
pub(super) fn print_user(user: &UserId, json: bool) -> Result<(), Exit> {
    output::line(&if json { json!({ "name": user.as_str() }).to_string() } else { printable(user).into_owned() })
}

/// A name without an account may be a slip; where there are no accounts, nobody knows.
pub(super) fn note_strangers<'a>(store: &Store, users: impl IntoIterator<Item = &'a UserId>) -> Result<(), Exit> {
    let stranger = |user: &UserId| -> Result<bool, Problem> { Ok(store.account(user)?.is_none()) };
    if told(store.has_accounts())? {
        for user in users {
            if told(stranger(user))? {
                output::note(&format!("there is no account {} yet", printable(user)));
            }
        }
    }
    Ok(())
}
