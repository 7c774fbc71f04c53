//! What can be typed after `esf`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use esf_tokio::{DeviceKind, GroupId, MAX_BLOB_NAME, UserId};

use crate::{config::Given, exit, password::PasswordArgs, store::Role};

/// Where `esf serve` listens and where the other commands connect to, if nothing else is said.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:4540";
const DEFAULT_URL: &str = "ws://127.0.0.1:4540";

/// Real-time messaging: a server, and commands to talk through it.
#[derive(Debug, Parser)]
#[command(name = "esf", version, after_help = exit::help(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    Serve(Serve),
    /// Check, show or explain the settings of a server
    Config(Config),
    /// Add, change, remove and list the accounts of a server
    User(User),
    /// Say who is whose contact
    Contact(Contact),
    /// Make groups and say who is in them
    Group(Group),
    /// Copy the store of a server, and look after messages that nobody takes
    Store(StoreArgs),
    /// Print what arrives, a line for each thing, until stopped
    Listen(Listen),
    /// Send a message
    Send(Send),
    /// Send a message to everybody in a group who is online
    Broadcast(Broadcast),
    /// Send a file, of any size
    Blob(Blob),
    /// Ask somebody and print the answer
    Query(Query),
    /// Measure the round trip to the server or to a user
    Ping(Ping),
    /// List the users that are online; needs the right to
    Online(Online),
    /// Show contacts and groupmates, and who of them is online, as it changes
    Watch(Watch),
    /// End every login of a user; needs the right to
    Kick(Kick),
    /// Talk with somebody, or with a group: lines typed here go there, and lines from there appear here
    Chat(Chat),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The file with the settings; without it ./esf.toml or /etc/esf/esf.toml, if there is one
    #[arg(long, env = "ESF_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Given,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the settings as `esf serve` would, and say what is wrong with them
    Check {
        /// The file; without it that of ESF_CONFIG, ./esf.toml or /etc/esf/esf.toml
        #[arg(env = "ESF_CONFIG")]
        file: Option<PathBuf>,
        /// Also print each value that is not the default, and where it came from
        #[arg(long)]
        origins: bool,
    },
    /// Print every setting as `esf serve` would use it, in the form of a file
    Show {
        /// The file; without it that of ESF_CONFIG, ./esf.toml or /etc/esf/esf.toml
        #[arg(env = "ESF_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print an example file: every key, with its default and what it means
    Example,
}

#[derive(Debug, Args)]
pub(crate) struct User {
    /// The directory of the server; without this that of its settings, ./esf-data if they say nothing
    #[arg(long, env = "ESF_DATA", value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make an account, and the store if there is none
    Add {
        /// Who may log in
        #[arg(value_parser = user_id)]
        name: UserId,
        /// What the account may do
        #[arg(long, value_enum, default_value_t = Role::User)]
        role: Role,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Change a password, and log off who is logged in with the old one
    Passwd {
        /// Whose
        #[arg(value_parser = user_id)]
        name: UserId,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove an account, and log it off
    Remove {
        /// Whose
        #[arg(value_parser = user_id)]
        name: UserId,
    },
    /// Give an account another role
    Grant {
        /// Whose
        #[arg(value_parser = user_id)]
        name: UserId,
        /// What it may do
        #[arg(value_enum)]
        role: Role,
    },
    /// Print the accounts, a line for each: name, tabulator, role
    List {
        /// Print JSON objects
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Contact {
    /// The directory of the server; without this that of its settings, ./esf-data if they say nothing
    #[arg(long, env = "ESF_DATA", value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: ContactCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContactCommand {
    /// Make two people contacts of each other, and the store if there is none
    Add {
        /// One of the two
        #[arg(value_name = "NAME", value_parser = user_id)]
        one: UserId,
        /// The other
        #[arg(value_name = "NAME", value_parser = user_id)]
        other: UserId,
    },
    /// Make two people strangers to each other
    Remove {
        /// One of the two
        #[arg(value_name = "NAME", value_parser = user_id)]
        one: UserId,
        /// The other
        #[arg(value_name = "NAME", value_parser = user_id)]
        other: UserId,
    },
    /// Print the contacts of somebody, a name in each line
    List {
        /// Whose
        #[arg(value_parser = user_id)]
        name: UserId,
        /// Print JSON objects
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Group {
    /// The directory of the server; without this that of its settings, ./esf-data if they say nothing
    #[arg(long, env = "ESF_DATA", value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: GroupCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group without members, and the store if there is none
    Create {
        /// Its id; those that begin with ~ are for dynamic groups
        #[arg(value_parser = lasting_group)]
        group: GroupId,
    },
    /// Add members
    Add {
        /// Where to
        #[arg(value_parser = lasting_group)]
        group: GroupId,
        /// Whom
        #[arg(value_name = "NAME", value_parser = user_id, required = true)]
        names: Vec<UserId>,
    },
    /// Remove members
    Remove {
        /// Where from
        #[arg(value_parser = lasting_group)]
        group: GroupId,
        /// Whom
        #[arg(value_name = "NAME", value_parser = user_id, required = true)]
        names: Vec<UserId>,
    },
    /// Print the groups, a line for each: id, tabulator, number of members; or the members of one
    List {
        /// Whose members
        #[arg(value_parser = lasting_group)]
        group: Option<GroupId>,
        /// Print JSON objects
        #[arg(long)]
        json: bool,
    },
    /// Remove a group with its members
    Delete {
        /// Which
        #[arg(value_parser = lasting_group)]
        group: GroupId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The directory of the server; without this that of its settings, ./esf-data if they say nothing
    #[arg(long, env = "ESF_DATA", value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy the store as it is now into a file, while a server runs on it or not
    Backup {
        /// The copy, which is not there yet
        file: PathBuf,
    },
    /// Look after messages that were delivered often and never confirmed
    Dead {
        #[command(subcommand)]
        command: DeadCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// Print the dead letters, a line for each
    List {
        /// Print JSON objects
        #[arg(long)]
        json: bool,
    },
    /// Let dead letters be delivered again
    Retry(Letters),
    /// Remove dead letters
    Drop(Letters),
}

#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// Which, as the list tells their numbers
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    pub(crate) ids: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
}

/// Which server, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The server
    #[arg(long, env = "ESF_URL", default_value = DEFAULT_URL)]
    pub(crate) url: String,
    /// Who you are
    #[arg(long, env = "ESF_USER", value_name = "NAME", value_parser = user_id)]
    pub(crate) user: UserId,
    /// The device kind to log in with: 0 to 255, or desktop, browser, phone, tablet, service or cli
    #[arg(long, value_name = "KIND", default_value = "cli", value_parser = device_kind)]
    pub(crate) device: DeviceKind,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Log in with the token in this file instead of a password; ESF_TOKEN has the token itself
    #[arg(long, env = "ESF_TOKEN_FILE", value_name = "FILE", conflicts_with = "password_stdin")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Answer each query with its own body
    #[arg(long)]
    pub(crate) echo: bool,
    /// Print JSON objects
    #[arg(long)]
    pub(crate) json: bool,
    /// End when so many things have been printed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Take files and put them here; without this they are refused
    #[arg(long, value_name = "DIR")]
    pub(crate) blobs: Option<PathBuf>,
    /// Take part in a group; one whose id begins with ~ is entered, and made if it is not there. May be repeated
    #[arg(long, value_name = "GROUP", value_parser = group_id)]
    pub(crate) join: Vec<GroupId>,
}

/// What is sent, and to whom.
#[derive(Debug, Args)]
pub(crate) struct Letter {
    /// Who is to get it
    #[arg(long, value_name = "NAME", value_parser = user_id)]
    pub(crate) to: UserId,
    /// The application's number for what it means
    #[arg(long = "type", value_name = "N", default_value_t = 1)]
    pub(crate) info_type: u32,
    /// What it says
    pub(crate) text: String,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) login: Login,
    #[command(flatten)]
    pub(crate) letter: Letter,
    /// Wait until it has arrived; without this, until the server has it
    #[arg(long)]
    pub(crate) certainly: bool,
    /// Have the server keep it if the receiver is offline, until they log in
    #[arg(long, requires = "certainly")]
    pub(crate) store: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Broadcast {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Whose members are to get it; you are one of them
    #[arg(long, value_name = "GROUP", value_parser = group_id)]
    pub(crate) group: GroupId,
    /// The application's number for what it means
    #[arg(long = "type", value_name = "N", default_value_t = 1)]
    pub(crate) info_type: u32,
    /// What it says
    pub(crate) text: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["to", "group"]))]
pub(crate) struct Blob {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Who is to get it
    #[arg(long, value_name = "NAME", value_parser = user_id)]
    pub(crate) to: Option<UserId>,
    /// The group whose members that are online are to get it; you are one of them
    #[arg(long, value_name = "GROUP", value_parser = group_id)]
    pub(crate) group: Option<GroupId>,
    /// The application's number for what it means
    #[arg(long = "type", value_name = "N", default_value_t = 1)]
    pub(crate) info_type: u32,
    /// The name that the receiver is told; without this, that of the file
    #[arg(long, value_parser = blob_name)]
    pub(crate) name: Option<String>,
    /// What to send; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) login: Login,
    #[command(flatten)]
    pub(crate) letter: Letter,
}

#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    pub(crate) login: Login,
    /// The user to ping; without this, the server
    #[arg(long, value_name = "NAME", value_parser = user_id)]
    pub(crate) to: Option<UserId>,
}

#[derive(Debug, Args)]
pub(crate) struct Online {
    #[command(flatten)]
    pub(crate) login: Login,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Print JSON objects
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Who is to go
    #[arg(value_name = "NAME", value_parser = user_id)]
    pub(crate) victim: UserId,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["with", "group"]))]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Who to talk with
    #[arg(long, value_name = "NAME", value_parser = user_id)]
    pub(crate) with: Option<UserId>,
    /// The group to talk with; one whose id begins with ~ is entered, and made if it is not there
    #[arg(long, value_name = "GROUP", value_parser = group_id)]
    pub(crate) group: Option<GroupId>,
    /// Take files and put them here; without this they are refused
    #[arg(long, value_name = "DIR")]
    pub(crate) blobs: Option<PathBuf>,
}

/// How long a name may be is the server's to say; here only what no server takes is refused.
pub(crate) fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text, u8::MAX).map_err(|error| error.to_string())
}

fn group_id(text: &str) -> Result<GroupId, String> {
    GroupId::parse(text).map_err(|error| error.to_string())
}

fn lasting_group(text: &str) -> Result<GroupId, String> {
    match GroupId::parse(text) {
        Ok(group) if group.is_dynamic() => Err("an id that begins with ~ is that of a dynamic group".into()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn blob_name(text: &str) -> Result<String, String> {
    if text.len() > MAX_BLOB_NAME {
        return Err(format!("it has more than {MAX_BLOB_NAME} bytes"));
    }
    Ok(text.to_owned())
}

fn device_kind(text: &str) -> Result<DeviceKind, String> {
    Ok(match text {
        "desktop" => DeviceKind::DESKTOP,
        "browser" => DeviceKind::BROWSER,
        "phone" => DeviceKind::PHONE,
        "tablet" => DeviceKind::TABLET,
        "service" => DeviceKind::SERVICE,
        "cli" => DeviceKind::COMMAND_LINE,
        number => DeviceKind(number.parse().map_err(|_| "a device kind is a number from 0 to 255 or a name of one")?),
    })
}

/// The name of a device kind, as `--device` takes it.
pub(crate) fn device_name(device: DeviceKind) -> String {
    match device {
        DeviceKind::DESKTOP => "desktop".into(),
        DeviceKind::BROWSER => "browser".into(),
        DeviceKind::PHONE => "phone".into(),
        DeviceKind::TABLET => "tablet".into(),
        DeviceKind::SERVICE => "service".into(),
        DeviceKind::COMMAND_LINE => "cli".into(),
        DeviceKind(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
