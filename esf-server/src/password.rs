//! Where a password comes from: standard input, the environment, or a prompt. Never a flag, which others could read.

use std::{
    ffi::OsString,
    fmt,
    io::{self, BufRead, IsTerminal as _, Read as _},
};

use clap::Args;

use crate::{
    accounts::{MAX_PASSWORD, PasswordError, Secret},
    exit::{Code, Exit},
};

/// The variable with the password.
const VARIABLE: &str = "ESF_PASSWORD";

/// How a command gets a password.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of standard input; without this it is that of ESF_PASSWORD, or is asked for
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// A password that can be one: 1 to 1024 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    fn new(bytes: Vec<u8>) -> Result<Self, Exit> {
        Secret::of_password(&bytes).map_err(unusable)?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is hashed of it.
    pub(crate) fn secret(&self) -> Result<Secret, Exit> {
        Secret::of_password(&self.0).map_err(unusable)
    }
}

impl PasswordArgs {
    /// The password that was given with the command; `None` if there is none.
    pub(crate) fn given(&self) -> Result<Option<Password>, Exit> {
        if self.password_stdin {
            return first_line(&mut io::stdin().lock()).map(Some);
        }
        std::env::var_os(VARIABLE).map(of_variable).transpose()
    }

    /// The password of somebody who exists.
    pub(crate) fn known(&self, name: &str) -> Result<Password, Exit> {
        self.given()?.map_or_else(|| ask(&format!("password of {name}: ")), Ok)
    }

    /// A new password, asked for twice if it is asked for.
    pub(crate) fn chosen(&self, name: &str) -> Result<Password, Exit> {
        if let Some(password) = self.given()? {
            return Ok(password);
        }
        let password = ask(&format!("new password of {name}: "))?;
        if ask("again: ")? == password {
            Ok(password)
        } else {
            Err(Exit::new(Code::Usage, "the two passwords differ; nothing was changed, so begin again"))
        }
    }
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows again what is typed, after a prompt that was left in the middle: whoever turned that off does not turn it on.
pub(crate) fn show_typing() {
    // Where there is no such program, there is nothing to do with it.
    let _ = std::process::Command::new("stty").arg("echo").status();
}

/// Asks on the terminal, which shows nothing of it.
fn ask(prompt: &str) -> Result<Password, Exit> {
    let line = can_ask().then(|| rpassword::prompt_password(prompt));
    match line {
        Some(Ok(line)) => Password::new(line.into_bytes()),
        Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(unusable(PasswordError::NotUtf8)),
        Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(Exit::interrupted()),
        Some(Err(error)) => Err(Exit::new(Code::Usage, format!("the password cannot be asked for: {error}"))),
        None => Err(Exit::new(
            Code::Usage,
            format!("there is no terminal to ask for the password; give it by --password-stdin or {VARIABLE}"),
        )),
    }
}

fn of_variable(value: OsString) -> Result<Password, Exit> {
    match value.into_string() {
        Ok(text) => Password::new(text.into_bytes()),
        Err(_) => Err(unusable(PasswordError::NotUtf8)),
    }
}

/// The first line, without its end. What follows is left to whoever reads on.
fn first_line(input: &mut impl BufRead) -> Result<Password, Exit> {
    let mut line = Vec::new();
    // Room for the end of a line of the greatest length.
    let read = input.by_ref().take(MAX_PASSWORD as u64 + 2).read_until(b'\n', &mut line);
    read.map_err(|error| Exit::new(Code::Usage, format!("the password cannot be read: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Password::new(line)
}

fn unusable(error: PasswordError) -> Exit {
    Exit::new(Code::Usage, format!("{error}; a password is 1 to {MAX_PASSWORD} bytes of UTF-8"))
}

#[cfg(test)]
mod tests;
