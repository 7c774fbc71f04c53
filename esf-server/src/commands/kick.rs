//! `esf kick`: ends every login of a user.

use crate::{
    cli::Kick,
    connect,
    exit::Exit,
    output::{self, printable},
};

pub(crate) async fn run(args: Kick) -> Result<(), Exit> {
    let victim = args.victim;
    connect::once(&args.login, async |client| {
        client.kick_out(&victim).await.map_err(|error| Exit::of_call(&error, &victim))
    })
    .await?;
    output::line(&format!("kicked out {}", printable(&victim)))
}
