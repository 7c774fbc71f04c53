//! The server's application sends to people, over a real socket.

use esf_tokio::{Bytes, Config, Context, Failure, Handlers, To, UserId};

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a user name")
}

#[tokio::test]
async fn the_server_sends_certainly_and_asks() {
    let server = esf_tokio::server().open().listen("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", server.local_addr().expect("an address"));
    let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handlers::new()
        .information(move |context: Context, info_type: u32, body: Bytes| {
            let _ = seen.send((context.source.user().cloned(), info_type, body));
            std::future::ready(())
        })
        .query(|_: Context, _: u32, body: Bytes| std::future::ready(Ok(body)));
    let anna = esf_tokio::client(&url, Config::new(user("anna"))).handler(handler).connect().await.expect("a login");

    server.send(To::User(user("anna")), 1, "plain").expect("anna is online");
    server.send_certainly(To::User(user("anna")), 2, "certain").await.expect("an ack");
    assert_eq!(arrived.recv().await, Some((None, 1, Bytes::from("plain"))));
    assert_eq!(arrived.recv().await, Some((None, 2, Bytes::from("certain"))));
    assert_eq!(server.query(To::User(user("anna")), 3, "echo").await, Ok(Bytes::from("echo")));
    assert_eq!(server.send_certainly(To::User(user("nobody")), 2, "").await, Err(Failure::Offline));
    assert_eq!(server.send(To::User(user("nobody")), 2, ""), Err(Failure::Offline));
    anna.log_off().await;
    server.shut_down(esf_tokio::SHUT_DOWN_GRACE).await;
}
