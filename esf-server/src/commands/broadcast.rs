//! `esf broadcast`: a message for everybody in a group who is online.

use esf_tokio::Bytes;

use super::membership;
use crate::{cli::Broadcast, connect, exit::Exit};

pub(crate) async fn run(args: Broadcast) -> Result<(), Exit> {
    let Broadcast { login, group, info_type, text } = args;
    let body = Bytes::from(text);
    connect::once(&login, async |client| {
        membership::check(client, &group).await?;
        membership::broadcast(client, &group, info_type, body)?;
        let mut events = client.events();
        let refused = async {
            while let Some(event) = events.next().await {
                if let Some(exit) = membership::refusal(&event, &group) {
                    return exit;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            exit = refused => Err(exit),
            done = membership::handed_over(client) => done,
        }
    })
    .await
}
