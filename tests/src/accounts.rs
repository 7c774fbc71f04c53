//! The server's application of a world, as far as logins go.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use esf_driver::node::Tickets;
use esf_proto::{
    ids::UserId,
    login::Rights,
    server::{Accepted, AppRequest, AppResponse, LoginClaim, LoginRequest},
};

/// `admin…` may kick and list, the password `wrong` is refused, everybody else is let in.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Whether it gives tickets. They are names and numbers in plain text, and believed.
    pub gives_tickets: AtomicBool,
    /// How many bytes its tickets are filled up to.
    pub ticket_size: AtomicUsize,
    /// The version of everybody's credentials; tickets of older ones are no good.
    pub version: AtomicU64,
    /// Whether every password is wrong, so that only a ticket opens.
    pub locked: AtomicBool,
    /// Logins that a ticket opened.
    pub by_ticket: AtomicU64,
    /// Who was kicked out.
    pub kicked: Mutex<Vec<String>>,
    /// Whose password nobody knows any more.
    pub guarded: Mutex<Vec<String>>,
}

impl Accounts {
    /// Decides about a login, and answers a query before login with itself.
    #[must_use]
    pub fn answer(&self, request: AppRequest) -> AppResponse {
        match request {
            AppRequest::Authenticate(login) => self.decide(&login),
            AppRequest::PreQuery { body, .. } => AppResponse::PreReply(Ok(body)),
        }
    }

    fn decide(&self, login: &LoginRequest) -> AppResponse {
        let admin = login.user.as_str().starts_with("admin");
        let rights = if admin { Rights::KICK.with(Rights::LIST) } else { Rights::NONE };
        let credential_version = self.version.load(Relaxed);
        let login_number = self.number_of(login);
        if login_number.is_some() {
            self.by_ticket.fetch_add(1, Relaxed);
        } else if &login.credential[..] == b"wrong" || self.locked.load(Relaxed) || self.guards(&login.user) {
            return AppResponse::Refuse { cause: "the password is wrong".into() };
        }
        AppResponse::Accept(Accepted { rights, credential_version, login_number })
    }

    fn guards(&self, user: &UserId) -> bool {
        let guarded = self.guarded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guarded.iter().any(|name| name == user.as_str())
    }

    /// The login number that the ticket proves, if it is good.
    fn number_of(&self, login: &LoginRequest) -> Option<u64> {
        let text = std::str::from_utf8(&login.ticket).ok()?;
        let mut words = text.split_whitespace();
        let ours = words.next()? == login.user.as_str() && words.next()? == login.device.to_string();
        let current = words.next()?.parse() == Ok(self.version.load(Relaxed));
        let number = words.next()?.parse().ok()?;
        (ours && current).then_some(number)
    }
}

impl Tickets for Accounts {
    fn ticket(&self, login: &LoginClaim, login_number: u64) -> Bytes {
        if !self.gives_tickets.load(Relaxed) {
            return Bytes::new();
        }
        let (engine, version) = (&login.engine, login.credential_version);
        let text = format!("{} {} {version} {login_number}", engine.user, engine.device);
        format!("{text:0$}", self.ticket_size.load(Relaxed)).into()
    }

    fn kicked(&self, user: &UserId) {
        let mut kicked = self.kicked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kicked.push(user.to_string());
    }
}
