//! `esf user`: the accounts of a server, in its data directory. A server that runs notices what is changed here.

use esf_tokio::UserId;
use serde::Serialize;

use super::data::directory;
use crate::{
    accounts,
    cli::{User, UserCommand},
    exit::{Code, Exit},
    output::{self, printable},
    password::Password,
    store::{Account, Problem, Role, Store},
};

pub(crate) fn run(args: User) -> Result<(), Exit> {
    let directory = directory(args.data)?;
    let open = || Store::open(&directory).map_err(|problem| told(&problem));
    match args.command {
        UserCommand::Add { name, role, password } => {
            let mut store = Store::create(&directory).map_err(|problem| told(&problem))?;
            if store.account(&name).map_err(|problem| told(&problem))?.is_some() {
                return Err(there_is_one(&name));
            }
            let hash = hash(&password.chosen(&name)?)?;
            if !store.add_account(&name, &hash, role).map_err(|problem| told(&problem))? {
                return Err(there_is_one(&name));
            }
            output::line(&format!("added {}, who is {}", printable(&name), article(role)))
        }
        UserCommand::Passwd { name, password } => {
            let mut store = open()?;
            if store.account(&name).map_err(|problem| told(&problem))?.is_none() {
                return Err(there_is_none(&name));
            }
            let hash = hash(&password.chosen(&name)?)?;
            done(&name, store.set_password(&name, &hash))?;
            output::line(&format!("changed the password of {}, whose logins with the old one end", printable(&name)))
        }
        UserCommand::Remove { name } => {
            done(&name, open()?.remove_account(&name))?;
            output::line(&format!("removed {}, whose logins end", printable(&name)))
        }
        UserCommand::Grant { name, role } => {
            done(&name, open()?.set_role(&name, role))?;
            output::line(&format!("{} is {} now", printable(&name), article(role)))
        }
        UserCommand::List { json } => {
            open()?.accounts().map_err(|problem| told(&problem))?.iter().try_for_each(|account| {
                output::line(&if json { Row::of(account).json() } else { Row::of(account).line() })
            })
        }
    }
}

fn hash(password: &Password) -> Result<String, Exit> {
    accounts::hash(&password.secret()?).map_err(|error| Exit::internal(error.to_string()))
}

fn told(problem: &Problem) -> Exit {
    Exit::of_store(problem)
}

fn done(name: &UserId, outcome: Result<bool, Problem>) -> Result<(), Exit> {
    if outcome.map_err(|problem| told(&problem))? { Ok(()) } else { Err(there_is_none(name)) }
}

fn there_is_none(name: &UserId) -> Exit {
    let name = printable(name);
    Exit::new(Code::NotThere, format!("there is no account {name}; `esf user list` shows those that there are"))
}

fn there_is_one(name: &UserId) -> Exit {
    let name = printable(name);
    Exit::new(Code::ThereAlready, format!("there is an account {name} already; `esf user passwd` changes its password"))
}

fn article(role: Role) -> &'static str {
    match role {
        Role::User => "a user",
        Role::Admin => "an admin",
    }
}

/// What is shown of an account.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    role: Role,
    made_at_ms: u64,
}

impl<'a> Row<'a> {
    fn of(account: &'a Account) -> Self {
        Self { name: &account.name, role: account.role, made_at_ms: account.made_at_ms }
    }

    fn line(&self) -> String {
        format!("{}\t{}", printable(self.name), self.role.name())
    }

    fn json(&self) -> String {
        // Two texts and a number: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
