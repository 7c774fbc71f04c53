//! `esf send`: a message for somebody.

use std::time::Duration;

use esf_tokio::{Bytes, CertainOptions, Delivered, To};

use crate::{
    cli::{Letter, Send},
    connect,
    exit::{Code, Exit},
    output::{self, printable},
};

/// As long as a certain send takes at most.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: Send) -> Result<(), Exit> {
    let Letter { to, info_type, text } = args.letter;
    let body = Bytes::from(text);
    connect::once(&args.login, async |client| {
        let target = To::User(to.clone());
        if args.store {
            let options = CertainOptions { store_if_offline: true, ..CertainOptions::default() };
            let sent = client.send_certainly_with(target, info_type, body, options).await;
            return match sent.map_err(|error| Exit::of_call(&error, &to))? {
                Delivered::Stored => output::line(&format!("stored for {}, who is offline", printable(&to))),
                _ => Ok(()),
            };
        }
        if args.certainly {
            let sent = client.send_certainly(target, info_type, body).await;
            return sent.map_err(|error| Exit::of_call(&error, &to));
        }
        client.send(target, info_type, body).map_err(|error| Exit::of_send(&error))?;
        match tokio::time::timeout(COUNTED_WITHIN, client.settled()).await {
            Ok(settled) => settled.map_err(|error| Exit::of_call(&error, "the server")),
            Err(_) => Err(Exit::new(
                Code::TimedOut,
                "the server did not take it in time; it may still, so ask before sending it again",
            )),
        }
    })
    .await
}
