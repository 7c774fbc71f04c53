//! Signed tokens (JWT, RFC 7519): whoever holds the key says who may log in.

use std::{
    fs,
    sync::{Arc, PoisonError, RwLock},
};

use esf_tokio::{Authenticator, CredentialKind, Decision, LoginRequest, Rights, UserId};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, JwkSet},
};
use serde_json::{Map, Value};
use tracing::debug;

use super::settings::TokenSettings;
use crate::{serve::Admins, store::Role};

/// What somebody hears whose token is not good, whatever is wrong with it; the log says what, at `debug`.
pub(super) const REFUSED: &str = "the token is not good";
/// What somebody hears who brings none.
pub(super) const NEEDED: &str = "a token is needed to log in here; bring one by ESF_TOKEN or --token-file";
/// The longest token that is looked at.
const LONGEST: usize = 8 * 1024;
/// Keys that are tried for a token that names none.
const KEYS: usize = 64;

/// Lets in whom a signed token names. Clones decide alike.
#[derive(Clone)]
pub(crate) struct Tokens {
    rules: Arc<RwLock<Arc<Rules>>>,
    admins: Admins,
}

/// Keys and what a token must say.
struct Rules {
    keys: Vec<Key>,
    audience: String,
    issuer: Option<String>,
    user_claim: String,
    roles_claim: String,
    leeway: u64,
}

/// A key is good for its one algorithm: a public key is no secret to sign with.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Tokens {
    /// Reads the keys.
    pub(super) fn new(settings: &TokenSettings, admins: Admins) -> Result<Self, String> {
        let rules = Arc::new(RwLock::new(Arc::new(Rules::read(settings)?)));
        Ok(Self { rules, admins })
    }

    /// Reads the keys and rules again. An error changes nothing.
    pub(super) fn reload(&self, settings: &TokenSettings) -> Result<(), String> {
        let rules = Arc::new(Rules::read(settings)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    fn decide(&self, login: &LoginRequest) -> Decision {
        if login.credential_kind != CredentialKind::Token {
            return Decision::refuse(NEEDED);
        }
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        match rules.check(&login.credential, &login.user) {
            Ok(admin) if admin || self.admins.contains(&login.user) => Decision::accept_with(Role::Admin.rights()),
            Ok(_) => Decision::accept_with(Rights::NONE),
            Err(reason) => {
                debug!(user = %login.user, reason, "a token is not good");
                Decision::refuse(REFUSED)
            }
        }
    }
}

impl Authenticator for Tokens {
    async fn authenticate(&self, login: LoginRequest) -> Decision {
        self.decide(&login)
    }
}

impl Rules {
    fn read(settings: &TokenSettings) -> Result<Self, String> {
        let mut keys = Vec::new();
        if let Some(path) = &settings.jwks {
            keys.extend(jwks(path)?);
        }
        if let Some(path) = &settings.hs256_secret {
            let secret = secret(path)?;
            keys.push(Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(&secret) });
        }
        if let Some(path) = &settings.eddsa_key {
            let key = DecodingKey::from_ed_pem(&file(path)?).map_err(|error| no_key(path, "Ed25519", &error))?;
            keys.push(Key { id: None, algorithm: Algorithm::EdDSA, key });
        }
        if let Some(path) = &settings.rs256_key {
            let key = DecodingKey::from_rsa_pem(&file(path)?).map_err(|error| no_key(path, "RSA", &error))?;
            keys.push(Key { id: None, algorithm: Algorithm::RS256, key });
        }
        if keys.is_empty() {
            return Err("there is no key to check tokens with; name one under [auth.token]".into());
        }
        if keys.len() > KEYS {
            return Err(format!("there are {} keys to check tokens with; {KEYS} are allowed", keys.len()));
        }
        let audience = settings.audience.clone().ok_or("auth.token.audience is missing: for whom tokens must be")?;
        Ok(Self {
            keys,
            audience,
            issuer: settings.issuer.clone(),
            user_claim: settings.user_claim.clone(),
            roles_claim: settings.roles_claim.clone(),
            leeway: settings.leeway.0.as_secs(),
        })
    }

    /// Whether the token lets `user` in, and then whether as an admin; else why not.
    fn check(&self, token: &[u8], user: &UserId) -> Result<bool, String> {
        if token.len() > LONGEST {
            return Err(format!("{} bytes are more than any token has", token.len()));
        }
        let header = decode_header(token).map_err(|error| error.to_string())?;
        let named = |key: &&Key| {
            let same = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            key.algorithm == header.alg && same
        };
        let mut reason = "no key fits it".to_owned();
        for key in self.keys.iter().filter(named) {
            match decode::<Map<String, Value>>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(token) => return self.judge(&token.claims, user),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway;
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }

    fn judge(&self, claims: &Map<String, Value>, user: &UserId) -> Result<bool, String> {
        let named = claims.get(&self.user_claim).and_then(Value::as_str);
        if named != Some(user.as_str()) {
            return Err(format!("its {} is {}", self.user_claim, named.unwrap_or("not there")));
        }
        let admin = match claims.get(&self.roles_claim) {
            Some(Value::String(role)) => role == "admin",
            Some(Value::Array(roles)) => roles.iter().any(|role| role == "admin"),
            _ => false,
        };
        Ok(admin)
    }
}

/// The keys of a JWK set (RFC 7517) that sign with an algorithm that is taken here.
fn jwks(path: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(&file(path)?).map_err(|error| format!("{path} is no JWK set: {error}"))?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            AlgorithmParameters::EllipticCurve(_) => continue,
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("a key in {path} cannot be used: {error}"))?;
        keys.push(Key { id: jwk.common.key_id.clone(), algorithm, key });
    }
    Ok(keys)
}

/// A secret of a file: a line break at its end does not belong to it.
pub(super) fn secret(path: &str) -> Result<Vec<u8>, String> {
    let mut secret = file(path)?;
    while secret.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.len() < 16 {
        return Err(format!("the secret in {path} has {} bytes; at least 16 are needed", secret.len()));
    }
    Ok(secret)
}

fn file(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))
}

fn no_key(path: &str, kind: &str, error: &jsonwebtoken::errors::Error) -> String {
    format!("{path} is no {kind} public key in PEM: {error}")
}

#[cfg(test)]
mod tests;
