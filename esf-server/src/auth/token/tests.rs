use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64URL_NOPAD;
use esf_tokio::{Bytes, DeviceKind};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A file of this name in the folder of test keys.
fn key(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of its own with these bytes, which goes with the value.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("esf-token-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> Option<String> {
        Some(self.0.display().to_string())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn good() -> Value {
    json!({"sub": "anna", "aud": "esf", "exp": now() + 600})
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
fn with(change: Value) -> Value {
    let mut claims = good();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn settings() -> TokenSettings {
    TokenSettings {
        eddsa_key: Some(key("ed25519.pub.pem")),
        rs256_key: Some(key("rsa.pub.pem")),
        audience: Some("esf".to_owned()),
        ..TokenSettings::default()
    }
}

fn ed_key(name: &str) -> EncodingKey {
    EncodingKey::from_ed_pem(&fs::read(key(name)).unwrap()).unwrap()
}

fn by_ed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::EdDSA), claims, &ed_key("ed25519.pem")).unwrap()
}

fn check(settings: &TokenSettings, token: &str) -> Result<bool, String> {
    Rules::read(settings).unwrap().check(token.as_bytes(), &UserId::parse("anna", 64).unwrap())
}

fn login(kind: CredentialKind, credential: &str) -> LoginRequest {
    LoginRequest {
        user: UserId::parse("anna", 64).unwrap(),
        device: DeviceKind::COMMAND_LINE,
        credential_kind: kind,
        credential: Bytes::copy_from_slice(credential.as_bytes()),
        system_token: Bytes::new(),
        ticket: Bytes::new(),
        interactive: true,
        address: None,
    }
}

#[test]
fn a_token_of_each_algorithm_lets_its_user_in() {
    let secret = Written::new("hs256", &[SECRET, b"\n"].concat());
    let settings = TokenSettings { hs256_secret: secret.path(), ..settings() };
    let rsa = EncodingKey::from_rsa_pem(&fs::read(key("rsa.pem")).unwrap()).unwrap();
    for (algorithm, key) in [
        (Algorithm::EdDSA, ed_key("ed25519.pem")),
        (Algorithm::RS256, rsa),
        (Algorithm::HS256, EncodingKey::from_secret(SECRET)),
    ] {
        let token = encode(&Header::new(algorithm), &good(), &key).unwrap();
        assert_eq!(check(&settings, &token), Ok(false), "{algorithm:?}");
    }
}

#[test]
fn an_admin_is_whose_roles_say_so() {
    let settings = settings();
    for roles in [json!("admin"), json!(["user", "admin"])] {
        assert_eq!(check(&settings, &by_ed(&with(json!({"roles": roles})))), Ok(true));
    }
    for roles in [json!("user"), json!([]), json!(7), json!(["administrator"])] {
        assert_eq!(check(&settings, &by_ed(&with(json!({"roles": roles})))), Ok(false));
    }
}

#[test]
fn a_token_that_is_not_good_says_nothing_about_why_to_its_bearer() {
    let settings = settings();
    let none = |claims: &Value| {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
    };
    // The public key is no secret, whatever the header says.
    let public = fs::read(key("rsa.pub.pem")).unwrap();
    let confused = encode(&Header::new(Algorithm::HS256), &good(), &EncodingKey::from_secret(&public)).unwrap();
    let other = encode(&Header::new(Algorithm::EdDSA), &good(), &ed_key("other-ed25519.pem")).unwrap();
    let mut torn = by_ed(&good());
    torn.truncate(torn.len() - 3);
    let without = |claim: &str| {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(claim);
        by_ed(&claims)
    };
    let bad = [
        ("alg none", none(&good())),
        ("a public key as a secret", confused),
        ("another key", other),
        ("a torn signature", torn),
        ("expired", by_ed(&with(json!({"exp": now() - 120})))),
        ("without an end", without("exp")),
        ("not valid yet", by_ed(&with(json!({"nbf": now() + 600})))),
        ("another audience", by_ed(&with(json!({"aud": "shop"})))),
        ("without an audience", without("aud")),
        ("another user", by_ed(&with(json!({"sub": "bo"})))),
        ("a user of another case", by_ed(&with(json!({"sub": "Anna"})))),
        ("without a user", without("sub")),
        ("1 MiB", "x".repeat(1 << 20)),
        ("nothing", String::new()),
        ("no token", "..".to_owned()),
    ];
    let tokens = Tokens::new(&settings, Admins::default()).unwrap();
    for (what, token) in bad {
        assert!(check(&settings, &token).is_err(), "{what}");
        assert_eq!(tokens.decide(&login(CredentialKind::Token, &token)), Decision::refuse(REFUSED), "{what}");
    }
    for kind in [CredentialKind::None, CredentialKind::Password, CredentialKind::Md5Hex] {
        assert_eq!(tokens.decide(&login(kind, &by_ed(&good()))), Decision::refuse(NEEDED));
    }
    assert_eq!(tokens.decide(&login(CredentialKind::Token, &by_ed(&good()))), Decision::accept());
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    assert_eq!(check(&settings(), &by_ed(&with(json!({"exp": now() - 30})))), Ok(false));
}

#[test]
fn an_issuer_that_is_set_is_needed() {
    let settings = TokenSettings { issuer: Some("https://login.example".to_owned()), ..settings() };
    assert_eq!(check(&settings, &by_ed(&with(json!({"iss": "https://login.example"})))), Ok(false));
    assert!(check(&settings, &by_ed(&with(json!({"iss": "https://else.example"})))).is_err());
    assert!(check(&settings, &by_ed(&good())).is_err());
}

#[test]
fn of_a_key_set_only_the_named_key_is_tried() {
    let jwk = |id: &str, secret: &[u8]| json!({"kty": "oct", "kid": id, "k": BASE64URL_NOPAD.encode(secret)});
    let set = json!({"keys": [jwk("old", b"an old secret of the issuer"), jwk("new", SECRET)]});
    let file = Written::new("jwks", set.to_string().as_bytes());
    let settings = TokenSettings { jwks: file.path(), audience: Some("esf".to_owned()), ..TokenSettings::default() };
    let signed = |kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        encode(&header, &good(), &EncodingKey::from_secret(SECRET)).unwrap()
    };
    assert_eq!(check(&settings, &signed(Some("new"))), Ok(false));
    assert_eq!(check(&settings, &signed(None)), Ok(false));
    assert!(check(&settings, &signed(Some("old"))).is_err());
    assert!(check(&settings, &signed(Some("unknown"))).is_err());
}

#[test]
fn keys_that_cannot_be_read_say_which_and_why() {
    let short = Written::new("short", b"short\n");
    let nonsense = Written::new("nonsense", b"{}");
    let problem = |settings: TokenSettings| Rules::read(&settings).err().unwrap();
    let base = || TokenSettings { audience: Some("esf".to_owned()), ..TokenSettings::default() };
    assert!(problem(base()).contains("no key"));
    assert!(problem(TokenSettings { audience: None, ..settings() }).contains("audience"));
    assert!(problem(TokenSettings { hs256_secret: short.path(), ..base() }).contains("5 bytes"));
    assert!(problem(TokenSettings { jwks: nonsense.path(), ..base() }).contains("no JWK set"));
    assert!(problem(TokenSettings { eddsa_key: nonsense.path(), ..base() }).contains("Ed25519"));
    assert!(
        problem(TokenSettings { rs256_key: Some("/nowhere".into()), ..base() }).contains("/nowhere cannot be read")
    );
}

#[test]
fn a_reload_takes_new_keys_and_keeps_the_old_ones_if_it_fails() {
    let tokens = Tokens::new(&settings(), Admins::default()).unwrap();
    let decide = || tokens.decide(&login(CredentialKind::Token, &by_ed(&good())));
    assert!(tokens.reload(&TokenSettings { eddsa_key: Some("/nowhere".into()), ..settings() }).is_err());
    assert_eq!(decide(), Decision::accept());
    tokens.reload(&TokenSettings { eddsa_key: None, ..settings() }).unwrap();
    assert_eq!(decide(), Decision::refuse(REFUSED));
}
