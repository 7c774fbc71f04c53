//! What is kept of a password: argon2id over the lower-case hexadecimal MD5 of it.
//!
//! Pages of old send that MD5 instead of the password; so both open the same account, at one costly hash each. The MD5 is
//! as good as the password to whoever reads it on its way.

use std::fmt;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{Output, PasswordHash, Salt, SaltString},
};
use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use thiserror::Error;

/// The longest password, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1024;

/// 19 MiB, two passes, one lane: the first choice of OWASP's cheat sheet on storing passwords.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH: usize = 32;
const SALT: usize = 16;

/// Why a password cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {MAX_PASSWORD} bytes")]
    TooLong,
    #[error("the password is not UTF-8")]
    NotUtf8,
}

/// What is hashed: 32 hexadecimal digits.
pub(crate) struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Of a plain password.
    pub(crate) fn of_password(password: &[u8]) -> Result<Self, PasswordError> {
        match password.len() {
            0 => Err(PasswordError::Empty),
            len if len > MAX_PASSWORD => Err(PasswordError::TooLong),
            _ if std::str::from_utf8(password).is_err() => Err(PasswordError::NotUtf8),
            _ => {
                let mut digits = [0; 32];
                HEXLOWER.encode_mut(&Md5::digest(password), &mut digits);
                Ok(Self(digits))
            }
        }
    }

    /// Of the MD5 of one in hexadecimal digits, in either case.
    pub(super) fn of_md5hex(digits: &[u8]) -> Option<Self> {
        let mut digits: [u8; 32] = digits.try_into().ok()?;
        digits.make_ascii_lowercase();
        digits.iter().all(u8::is_ascii_hexdigit).then_some(Self(digits))
    }
}

/// No hash could be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a password cannot be hashed: {0}")]
pub(crate) struct HashError(String);

/// Makes what is stored: a PHC string with its parameters and a salt of its own. Costly.
pub(crate) fn hash(secret: &Secret) -> Result<String, HashError> {
    let error = |error: &dyn fmt::Display| HashError(error.to_string());
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|e| error(&e))?;
    let mut output = [0; HASH];
    argon2().hash_password_into(&secret.0, &salt, &mut output).map_err(|e| error(&e))?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| error(&e))?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2().params().try_into().map_err(|e: argon2::password_hash::Error| error(&e))?,
        salt: Some(salt.as_salt()),
        hash: Some(Output::new(&output).map_err(|e| error(&e))?),
    };
    Ok(phc.to_string())
}

/// A hash that no password has, of the same cost as any.
pub(super) fn decoy() -> Result<String, HashError> {
    // Not the MD5 of anything: those are hexadecimal.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| HashError(error.to_string()))?;
    hash(&Secret(secret.map(|byte| byte | 0x80)))
}

/// Whether it is the stored one. Costly. `memory` is used again by the next check of the same thread.
pub(super) fn verify(secret: &Secret, stored: &str, memory: &mut Vec<Block>) -> bool {
    check(secret, stored, memory).unwrap_or_else(|| {
        tracing::error!("a hash in the store cannot be read; `esf user passwd` sets it anew");
        false
    })
}

fn check(secret: &Secret, stored: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let phc = PasswordHash::new(stored).ok()?;
    let algorithm = Algorithm::try_from(phc.algorithm).ok()?;
    let version = Version::try_from(phc.version?).ok()?;
    let params = Params::try_from(&phc).ok()?;
    let (mut salt, mut output) = ([0; Salt::MAX_LENGTH], [0; Output::MAX_LENGTH]);
    let salt = phc.salt?.decode_b64(&mut salt).ok()?;
    let expected = phc.hash?;
    let output = output.get_mut(..expected.len())?;
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::default());
    }
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(&secret.0, salt, output, memory.as_mut_slice()).ok()?;
    // Output compares in constant time.
    Some(Output::new(output).ok()? == expected)
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH));
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.unwrap_or(Params::DEFAULT))
}
