//! The `[auth]` table of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Time;

/// Who decides about logins, unless the server is open.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) method: Method,
    pub(crate) token: TokenSettings,
    pub(crate) http: HttpSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    #[default]
    Accounts,
    Token,
    Http,
}

/// Keys and claims of signed tokens. Keys are paths of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TokenSettings {
    pub(crate) jwks: Option<String>,
    pub(crate) hs256_secret: Option<String>,
    pub(crate) eddsa_key: Option<String>,
    pub(crate) rs256_key: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) user_claim: String,
    pub(crate) roles_claim: String,
    pub(crate) leeway: Time,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            jwks: None,
            hs256_secret: None,
            eddsa_key: None,
            rs256_key: None,
            audience: None,
            issuer: None,
            user_claim: "sub".to_owned(),
            roles_claim: "roles".to_owned(),
            leeway: Time(Duration::from_secs(60)),
        }
    }
}

impl TokenSettings {
    pub(crate) fn has_key(&self) -> bool {
        [&self.jwks, &self.hs256_secret, &self.eddsa_key, &self.rs256_key].into_iter().any(Option::is_some)
    }
}

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpSettings {
    pub(crate) url: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) timeout: Time,
    pub(crate) at_once: u32,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { url: None, secret: None, timeout: Time(Duration::from_secs(5)), at_once: 32 }
    }
}
