//! `esf serve`: the server.

mod descriptors;
mod keeping;
mod log;
mod reload;

use std::net::SocketAddr;

use esf_tokio::{SHUT_DOWN_GRACE, Server, ServerEvent, ServerStats};
use tracing::{debug, info, warn};

use crate::{
    auth,
    cli::{self, DEFAULT_ADDRESS},
    config::{self, Listen, Loaded, Settings, Sources, open_to_strangers},
    exit::{Code, Exit},
    output,
    signals::{Asked, ServerSignals},
};

pub(crate) use self::reload::Admins;
use self::{
    keeping::Keeping,
    reload::{Reload, Running},
};

pub(crate) async fn run(args: cli::Serve) -> Result<(), Exit> {
    let sources = Sources::of_process(args.config, args.settings);
    let loaded = sources.load().map_err(|problem| Exit::of_config(&problem))?;
    let settings = &loaded.settings;
    let admins = Admins::default();
    admins.set(settings.admins());
    let addresses = addresses(&settings.listen).await?;
    if settings.open {
        loopback_only(&addresses)?;
    }
    let log = log::start(&settings.log);
    let authenticator = auth::choose(settings, admins.clone())?;
    let keeping = Keeping::choose(&loaded)?;
    tell_sources(&loaded);
    descriptors::raise(settings.limits.connections);
    // Before anybody knows that there is a server to be stopped.
    let mut signals = ServerSignals::new()?;

    let builder = esf_tokio::server().authenticator(authenticator.clone()).admission(settings.admission());
    let builder = keeping.give_to(builder.configure(|config| settings.protocol.apply(config)));
    let server = builder.start().map_err(|error| Exit::internal(format!("the server does not start: {error}")))?;
    authenticator.attend(&server).await?;
    keeping.watch(&server)?;
    let address = listen(&server, &settings.listen, &addresses).await?;
    tokio::spawn(log_events(server.clone()));
    warn_unencrypted(address);
    greet(address, settings, &keeping);

    let running = Running { server: server.clone(), authenticator, admins, log };
    let mut reload = Reload::new(sources, settings, running);
    loop {
        match signals.next().await {
            Asked::Stop => break,
            Asked::Reload => reload.reload(),
            Asked::Tell => tell_state(&server),
        }
    }
    info!("draining");
    tokio::select! {
        () = server.shut_down(SHUT_DOWN_GRACE) => {}
        () = signals.stop() => return Err(Exit::new(Code::Interrupted, "stopped before all clients had left")),
    }
    tell_counters("drained", &server);
    Ok(())
}

/// There is no TLS here, so a proxy has to bring it.
fn warn_unencrypted(address: SocketAddr) {
    if !address.ip().is_loopback() {
        warn!(
            %address,
            "passwords and messages cross the network unencrypted: listen on this machine only, and put a proxy with TLS \
             in front, such as Caddy: `caddy reverse-proxy --from chat.example --to 127.0.0.1:{}`; docs/CONFIGURATION.md \
             says more",
            address.port()
        );
    }
}

/// Says which file counts, and what is odd.
fn tell_sources(loaded: &Loaded) {
    match &loaded.file {
        Some(file) => info!(file = %file.display(), "settings were read"),
        None => debug!("there is no file with settings"),
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
}

/// What a name to listen on stands for.
async fn addresses(listen: &Listen) -> Result<Vec<SocketAddr>, Exit> {
    let cannot = |reason: String| Exit::new(Code::CannotListen, format!("cannot listen on {listen}: {reason}"));
    let found = tokio::net::lookup_host(listen.as_str()).await.map_err(|error| cannot(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err(cannot("it has no address".into())) } else { Ok(addresses) }
}

/// Without credentials, anybody who can connect can be anybody: so only this machine may.
fn loopback_only(addresses: &[SocketAddr]) -> Result<(), Exit> {
    let Some(public) = addresses.iter().find(|address| !address.ip().is_loopback()) else { return Ok(()) };
    Err(Exit::new(Code::WillNotServe, open_to_strangers(*public)))
}

/// Listens on the first of the addresses that can be had.
async fn listen(server: &Server, name: &Listen, addresses: &[SocketAddr]) -> Result<SocketAddr, Exit> {
    let mut last = None;
    for address in addresses {
        match server.listen(&address.to_string()).await {
            Ok(address) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(String::new, |error| error.to_string());
    Err(Exit::new(
        Code::CannotListen,
        format!("cannot listen on {name}: {reason}; `--listen 127.0.0.1:0` takes any free port"),
    ))
}

/// Says where the server is and what to type next. Nobody has to read it.
fn greet(address: SocketAddr, settings: &Settings, keeping: &Keeping) {
    let esf = command();
    let url = if address.to_string() == DEFAULT_ADDRESS { String::new() } else { format!(" --url ws://{address}") };
    let listening = format!("listening on ws://{address}");
    let accounts = if settings.open {
        Vec::new()
    } else {
        let data = data_flag(settings);
        vec![
            "two people get accounts, once:".into(),
            format!("  {esf} user add alice{data}"),
            format!("  {esf} user add bob{data}"),
        ]
    };
    let chats = [
        "two people talk, each in a terminal:".into(),
        format!("  {esf} chat --user alice --with bob{url}"),
        format!("  {esf} chat --user bob --with alice{url}"),
    ];
    let last = keeping.told().map(str::to_owned).into_iter().chain(["Ctrl-C stops the server".to_owned()]);
    for line in std::iter::once(listening).chain(accounts).chain(chats).chain(last) {
        let _ = output::line(&line);
    }
}

/// What `esf user` needs to find the same directory.
fn data_flag(settings: &Settings) -> String {
    let data = settings.data.path();
    if data == config::Directory::default().path() {
        return String::new();
    }
    // From wherever the other terminal is.
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    format!(" --data {}", quoted(&data.display().to_string()))
}

/// How this program is called from another terminal: by its name if the shell finds it by that, else by its path.
fn command() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called == "esf" {
        return called;
    }
    let path = std::env::current_exe().map_or(called, |path| path.display().to_string());
    quoted(&path)
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:\\".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

async fn log_events(server: Server) {
    let mut events = server.events();
    while let Some(event) = events.next().await {
        match event {
            Ok(ServerEvent::Connected { engine, takes_messages, address }) => {
                let address = address.map(tracing::field::display);
                info!(user = %engine.user, device = %engine.device, address, takes_messages, "logged in");
            }
            Ok(ServerEvent::Disconnected { engine, reason }) => {
                info!(user = %engine.user, device = %engine.device, reason = reason.text(), "gone");
            }
            Ok(ServerEvent::TransmitFailed { from, to, info_type, failure }) => {
                debug!(?from, ?to, info_type, %failure, "not delivered");
            }
            Ok(ServerEvent::BroadcastFailed { group, from, to, failure }) => {
                debug!(%group, ?from, %to, %failure, "a broadcast was missed");
            }
            Ok(other) => debug!(?other, "event"),
            Err(lagged) => warn!(%lagged, "events"),
        }
    }
}

/// What the server holds now and has counted.
fn tell_state(server: &Server) {
    let ServerStats { connections, links, online, held_bytes, .. } = server.stats();
    let now = format!("{connections} connections, {links} links, {online} users online, {held_bytes} bytes held");
    tell_counters(&now, server);
}

/// What the server has counted in its life, after `title`. Nobody has to read it.
fn tell_counters(title: &str, server: &Server) {
    let counted: Vec<(&str, u64)> = server.stats().counters.into_iter().filter(|(_, count)| *count > 0).collect();
    let more = if counted.is_empty() { "" } else { "; what was counted:" };
    let _ = output::line(&format!("{title}{more}"));
    for (name, count) in counted {
        let _ = output::line(&format!("  {name} {count}"));
    }
}

#[cfg(test)]
mod tests;
