//! Where a server is: `ws://host[:port][/path]`.

use std::{fmt, str::FromStr};

use tungstenite::http::Uri;

/// The address of a server, parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Why a text is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL with a host.
    #[error("not a URL: it should look like ws://127.0.0.1:4540")]
    Malformed,
    /// The scheme is not `ws`.
    #[error("the scheme is not built in: use ws://")]
    Scheme,
    /// It has a user name in front of the host, or a fragment behind the path.
    #[error("a user name or a #fragment has no place in the URL of a server")]
    Extra,
}

impl Url {
    /// The port of `ws` where the URL names none.
    const DEFAULT_PORT: u16 = 80;

    /// The host, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` field names them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query, at least `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains('#') {
            return Err(UrlError::Extra);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        if uri.scheme_str() != Some("ws") {
            return Err(if uri.scheme().is_some() { UrlError::Scheme } else { UrlError::Malformed });
        }
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Extra);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // `port_u16` is `None` both for no port and for one that is no number.
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str() == authority.host() => Self::DEFAULT_PORT,
            None => return Err(UrlError::Malformed),
        };
        if host.is_empty() {
            return Err(UrlError::Malformed);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { host: host.to_owned(), port, authority: authority.as_str().to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests;
