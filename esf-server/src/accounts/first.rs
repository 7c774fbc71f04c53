//! The first account of a store.

use data_encoding::BASE32_NOPAD;
use esf_tokio::UserId;

use super::{Secret, hash};
use crate::{
    exit::Exit,
    output,
    store::{Role, Store},
};

/// Its name.
const FIRST_ADMIN: &str = "admin";

/// Makes an admin in a store without accounts, and prints its password: nobody can read it later.
pub(crate) fn make_first_admin(store: &mut Store) -> Result<(), Exit> {
    if store.has_accounts().map_err(|problem| Exit::of_store(&problem))? {
        return Ok(());
    }
    let mut random = [0; 15];
    getrandom::fill(&mut random).map_err(|error| Exit::internal(format!("no random numbers: {error}")))?;
    let password = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    let secret = Secret::of_password(password.as_bytes()).map_err(|error| Exit::internal(error.to_string()))?;
    let hash = hash(&secret).map_err(|error| Exit::internal(error.to_string()))?;
    let name = UserId::parse(FIRST_ADMIN, u8::MAX).map_err(|error| Exit::internal(error.to_string()))?;
    if store.add_account(&name, &hash, Role::Admin).map_err(|problem| Exit::of_store(&problem))? {
        // Should nobody read it, `esf user passwd` sets another.
        let _ = output::line(&format!("made the account {FIRST_ADMIN}, with the password {password}"));
        let _ = output::line("it is not told again; `esf user passwd admin` sets another");
    }
    Ok(())
}
