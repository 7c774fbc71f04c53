//! `esf ping`: the round trip to the server or to a user.

use esf_tokio::To;

use crate::{
    cli::Ping,
    connect,
    exit::Exit,
    output::{self, printable},
};

pub(crate) async fn run(args: Ping) -> Result<(), Exit> {
    let (target, name) = match &args.to {
        Some(user) => (To::User(user.clone()), user.as_str()),
        None => (To::Server, "the server"),
    };
    let round_trip = connect::once(&args.login, async |client| {
        client.ping(target).await.map_err(|error| Exit::of_call(&error, name))
    })
    .await?;
    output::line(&format!("{} answered in {:.3} ms", printable(name), round_trip.as_secs_f64() * 1000.0))
}
