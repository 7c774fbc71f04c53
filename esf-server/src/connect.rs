//! The connection of a command, from its login to its end.

use std::time::Duration;

use esf_tokio::{
    Bytes, Client, ClientBuilder, Config, ConnectError, Credential, CredentialKind, Event, GroupId, LoginCode, Mode,
    State,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    cli::Login,
    commands::membership,
    exit::{Code, Exit},
    output::Print,
    password::{self, Password, can_ask},
    signals::Signals,
};

/// How long work that was stopped has to take back what it had under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest token that fits into a login frame beside the rest of it.
const LONGEST_TOKEN: usize = 6 * 1024;

/// Logs in for one thing, does it, and logs off. Takes no messages, so that it does not push out a listener.
pub(crate) async fn once<T>(login: &Login, work: impl AsyncFnOnce(&Client) -> Result<T, Exit>) -> Result<T, Exit> {
    let mut signals = Signals::new()?;
    let client = log_in(login, false, &mut signals, |client| client).await?;
    let result = tokio::select! {
        biased;
        // Whatever the work says to that, this is why.
        ended = client.closed() => return Err(Exit::of_end(ended)),
        result = work(&client) => result,
        () = signals.next() => Err(Exit::interrupted()),
    };
    if result.as_ref().is_err_and(|exit| exit.code() == Code::Interrupted) {
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS, client.settled()) => {}
            () = signals.next() => {}
        }
    }
    log_off(&client, &mut signals).await;
    result
}

/// Connects once, with a client that `finish` completes; a server that is not there ends the command at once. If the
/// server wants a password and none was given, somebody at a terminal is asked for it.
pub(crate) async fn log_in(
    login: &Login,
    takes_messages: bool,
    signals: &mut Signals,
    finish: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Client, Exit> {
    let token = token(login)?;
    let mut password = if token.is_none() { login.password.given()? } else { None };
    loop {
        let credential = match (&token, &password) {
            (Some(token), _) => token.clone(),
            (None, Some(password)) => of_password(password),
            (None, None) => Credential::NONE,
        };
        let client = finish(client(login, takes_messages, credential));
        let connected = tokio::select! {
            connected = client.connect() => connected,
            () = signals.next() => return Err(Exit::interrupted()),
        };
        match connected {
            Ok(client) => return Ok(client),
            Err(ConnectError::Refused { code: LoginCode::Failed, .. })
                if token.is_none() && password.is_none() && can_ask() =>
            {
                password = Some(ask(login, signals).await?);
            }
            Err(error) => return Err(Exit::of_connect(&error)),
        }
    }
}

/// Asks for the password in a thread, since a terminal cannot be waited for otherwise; it ends with the process.
async fn ask(login: &Login, signals: &mut Signals) -> Result<Password, Exit> {
    let (answer, answered) = oneshot::channel();
    let (user, args) = (login.user.clone(), login.password.clone());
    let ask = move || {
        // Whoever asked may have been stopped.
        let _ = answer.send(args.known(&user));
    };
    let spawned = std::thread::Builder::new().name("ask".into()).spawn(ask);
    spawned.map_err(|error| Exit::internal(format!("a thread cannot be started: {error}")))?;
    tokio::select! {
        answer = answered => answer.unwrap_or_else(|_| Err(Exit::internal("the thread that asks is gone"))),
        () = signals.next() => {
            password::show_typing();
            Err(Exit::interrupted())
        }
    }
}

fn client(login: &Login, takes_messages: bool, credential: Credential) -> ClientBuilder {
    let mut config = Config::new(login.user.clone());
    config.device = login.device;
    config.takes_messages = takes_messages;
    config.credential = credential;
    esf_tokio::client(&login.url, config)
}

fn of_password(password: &Password) -> Credential {
    Credential { kind: CredentialKind::Password, bytes: Bytes::copy_from_slice(password.bytes()) }
}

/// The token that was given with the command: in a file, or in the environment.
fn token(login: &Login) -> Result<Option<Credential>, Exit> {
    let token = match &login.token_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Exit::new(Code::Usage, format!("{} cannot be read: {error}", path.display())))?,
        None => match std::env::var("ESF_TOKEN") {
            Ok(token) => token,
            Err(_) => return Ok(None),
        },
    };
    let token = token.trim();
    if token.is_empty() || token.len() > LONGEST_TOKEN {
        let reason = format!("the token has {} bytes; it can have 1 to {LONGEST_TOKEN}", token.len());
        return Err(Exit::new(Code::Usage, reason));
    }
    Ok(Some(Credential { kind: CredentialKind::Token, bytes: Bytes::copy_from_slice(token.as_bytes()) }))
}

/// Logs off, which takes a few seconds if the server does not answer; a signal cuts that short. Whoever was logged off by
/// the server does not wait for anything.
pub(crate) async fn log_off(client: &Client, signals: &mut Signals) {
    if matches!(client.state(), State::Closed(_)) {
        return;
    }
    tokio::select! {
        _ = client.log_off() => {}
        () = signals.next() => {}
    }
}

/// Waits until the connection of `listen` or `chat` ends for good, says on the way when it is interrupted and back, and
/// what happens in dynamic groups; enters those of `groups` again after the server has forgotten them. `heard` is told of
/// every event.
pub(crate) async fn watch(
    client: &Client,
    lines: &mpsc::Sender<Print>,
    groups: &[GroupId],
    mut heard: impl FnMut(&Event),
) -> Exit {
    let mut events = client.events();
    while let Some(event) = events.next().await {
        heard(&event);
        if let Some(text) = telling(&event) {
            // A printer that is gone ends the command.
            let _ = lines.send(Print::Note(text)).await;
        }
        if let Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Fresh) } = event {
            for group in groups.iter().filter(|group| group.is_dynamic()) {
                if let Err(exit) = membership::join(client, group).await {
                    let note =
                        format!("not in {group} any more: {}", exit.reason().unwrap_or("the reason is not known"));
                    let _ = lines.send(Print::Note(note)).await;
                }
            }
        }
    }
    Exit::of_end(client.closed().await)
}

/// What people are to know of an event.
pub(crate) fn telling(event: &Event) -> Option<String> {
    Some(match event {
        Event::ConnectionInterrupted { reason } => {
            format!("connection interrupted: {}; connecting again", reason.text())
        }
        Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(Mode::Resumed) } => {
            "connected again, nothing was lost".into()
        }
        Event::RelogonCompleted { code: LoginCode::Succeed, .. } => {
            "connected again as a new session: messages without confirmation may be lost".into()
        }
        Event::GoAway { retry_after } => {
            format!("the server is going away, and is tried again after {:.1} s", retry_after.as_secs_f64())
        }
        Event::Group { group, event } => membership::telling(group, event)?,
        _ => return None,
    })
}
