//! `esf online`: who is online, and with which devices.

use esf_tokio::{Cursor, OnlineUser};

use crate::{
    cli::{Online, device_name},
    connect,
    exit::Exit,
    output::{self, printable},
};

pub(crate) async fn run(args: Online) -> Result<(), Exit> {
    connect::once(&args.login, async |client| {
        let mut next = Some(Cursor::START);
        while let Some(cursor) = next {
            let page = client.online_users(cursor).await.map_err(|error| Exit::of_call(&error, "the server"))?;
            page.users.into_iter().try_for_each(|user| output::line(&row(user)))?;
            next = page.next;
        }
        Ok(())
    })
    .await
}

/// Name, tabulator, device kinds by their number.
fn row(user: OnlineUser) -> String {
    let mut devices = user.devices;
    devices.sort_unstable();
    let devices: Vec<String> = devices.into_iter().map(device_name).collect();
    format!("{}\t{}", printable(&user.user), devices.join(" "))
}
