//! An HTTP endpoint of the application decides who may log in.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use data_encoding::BASE64;
use esf_tokio::{Authenticator, CredentialKind, Decision, LoginRequest, Rights};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::warn;

use super::{settings::HttpSettings, token::secret};
use crate::{serve::Admins, store::Role};

/// What somebody hears who is not let in, if the endpoint says nothing.
const REFUSED: &str = "the login is refused";
/// What somebody hears who waits for an answer that does not come.
pub(super) const UNAVAILABLE: &str = "nobody can be asked whether you may log in at present; try again later";
/// When an engine that comes back by itself may try again.
const AGAIN: Duration = Duration::from_secs(5);
/// Logins that wait for their turn to be asked about.
const WAITING: usize = 256;
/// The largest answer that is read.
const LARGEST: u64 = 64 * 1024;

/// Asks an endpoint. Clones decide alike.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Shared>);

struct Shared {
    asker: RwLock<Arc<Asker>>,
    admins: Admins,
    /// Logins that are asked about or wait for it.
    places: Semaphore,
}

struct Asker {
    agent: ureq::Agent,
    url: String,
    bearer: Option<String>,
    /// Those that are asked about at the same time.
    at_once: Semaphore,
}

#[derive(Serialize)]
struct Question {
    user: String,
    device: u8,
    credential_kind: &'static str,
    credential: String,
    /// In base64.
    system_token: String,
    address: Option<String>,
    interactive: bool,
}

#[derive(Deserialize)]
struct Answer {
    allow: bool,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

impl Endpoint {
    pub(super) fn new(settings: &HttpSettings, admins: Admins) -> Result<Self, String> {
        let asker = RwLock::new(Arc::new(Asker::new(settings)?));
        Ok(Self(Arc::new(Shared { asker, admins, places: Semaphore::new(WAITING + settings.at_once as usize) })))
    }

    /// Takes new settings, and reads the secret again. An error changes nothing.
    pub(super) fn reload(&self, settings: &HttpSettings) -> Result<(), String> {
        let asker = Arc::new(Asker::new(settings)?);
        *self.0.asker.write().unwrap_or_else(PoisonError::into_inner) = asker;
        Ok(())
    }
}

impl Authenticator for Endpoint {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        let Ok(_place) = self.0.places.try_acquire() else { return Decision::Later { retry_after: AGAIN } };
        let Some(question) = Question::of(&login) else { return Decision::refuse(REFUSED) };
        let asker = self.0.asker.read().unwrap_or_else(PoisonError::into_inner).clone();
        match asker.ask(question).await {
            Ok(Answer { allow: true, roles, .. }) => {
                let admin = self.0.admins.contains(&login.user) || roles.iter().any(|role| role == "admin");
                Decision::accept_with(if admin { Role::Admin.rights() } else { Rights::NONE })
            }
            Ok(Answer { cause, .. }) => Decision::refuse(cause.unwrap_or_else(|| REFUSED.to_owned())),
            Err(reason) => {
                warn!(url = asker.url, reason, "nobody says who may log in");
                if login.interactive {
                    Decision::refuse(UNAVAILABLE)
                } else {
                    // It shall go on trying.
                    Decision::Later { retry_after: AGAIN }
                }
            }
        }
    }
}

impl Asker {
    fn new(settings: &HttpSettings) -> Result<Self, String> {
        let url = settings.url.clone().ok_or("auth.http.url is missing: whom to ask about logins")?;
        let bearer = match &settings.secret {
            Some(path) => {
                let secret =
                    String::from_utf8(secret(path)?).map_err(|_| format!("the secret in {path} is no text"))?;
                Some(format!("Bearer {secret}"))
            }
            None => None,
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout.0))
            .max_redirects(0)
            .http_status_as_error(true)
            .build();
        Ok(Self { agent: config.into(), url, bearer, at_once: Semaphore::new(settings.at_once.max(1) as usize) })
    }

    /// Asks on a thread that may wait. The time that a login may take bounds the wait for a turn.
    async fn ask(self: &Arc<Self>, question: Question) -> Result<Answer, String> {
        let _turn = self.at_once.acquire().await.map_err(|error| error.to_string())?;
        let asker = self.clone();
        let asked = tokio::task::spawn_blocking(move || asker.post(&question));
        asked.await.map_err(|error| error.to_string())?
    }

    fn post(&self, question: &Question) -> Result<Answer, String> {
        let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        let mut response = request.send(&body[..]).map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("it answered with status {}", response.status()));
        }
        let body = response.body_mut().with_config().limit(LARGEST).read_to_vec();
        let body = body.map_err(|error| io::Error::other(error).to_string())?;
        serde_json::from_slice(&body).map_err(|error| format!("its answer is not what it has to be: {error}"))
    }
}

impl Question {
    /// `None`: the credential is no text, which none of these is.
    fn of(login: &LoginRequest) -> Option<Self> {
        let credential_kind = match login.credential_kind {
            CredentialKind::None => "none",
            CredentialKind::Password => "password",
            CredentialKind::Md5Hex => "md5hex",
            CredentialKind::Token => "token",
        };
        Some(Self {
            user: login.user.as_str().to_owned(),
            device: login.device.0,
            credential_kind,
            credential: String::from_utf8(login.credential.to_vec()).ok()?,
            system_token: BASE64.encode(&login.system_token),
            address: login.address.map(|address| address.to_string()),
            interactive: login.interactive,
        })
    }
}

#[cfg(test)]
mod tests;
