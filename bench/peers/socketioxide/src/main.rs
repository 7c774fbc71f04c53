//! Relays each event to whoever connected under the name of the pair's other side: 7a to 7b.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};

type Sockets = Arc<RwLock<HashMap<String, SocketRef>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sockets = Sockets::default();
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async move |socket: SocketRef| {
        let name = name(&socket);
        let partner = other(&name);
        sockets.write().unwrap_or_else(PoisonError::into_inner).insert(name, socket.clone());
        socket.on("m", async move |Data::<String>(text)| {
            let sockets = sockets.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(partner) = sockets.get(&partner) {
                // A partner that left gets nothing.
                let _ = partner.emit("m", &text);
            }
        });
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let app = axum::Router::new().layer(layer);
    // Nagle's algorithm would hold each message back until the one before was acknowledged.
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), app).await?;
    Ok(())
}

fn name(socket: &SocketRef) -> String {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    query.split('&').find_map(|part| part.strip_prefix("name=")).unwrap_or_default().to_owned()
}

fn other(name: &str) -> String {
    let (pair, side) = name.split_at(name.len().saturating_sub(1));
    format!("{pair}{}", if side == "a" { "b" } else { "a" })
}
