//! `esf query`: asks somebody and prints the answer.

use esf_tokio::To;

use crate::{
    cli::{Letter, Query},
    connect,
    exit::Exit,
    output,
};

pub(crate) async fn run(args: Query) -> Result<(), Exit> {
    let Letter { to, info_type, text } = args.letter;
    let answer = connect::once(&args.login, async |client| {
        let answer = client.query(To::User(to.clone()), info_type, text).await;
        answer.map_err(|error| Exit::of_call(&error, &to))
    });
    output::bytes(&answer.await?)
}
