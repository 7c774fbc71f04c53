//! Passwords, tickets, and the threads that check.

use std::{
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use esf_tokio::{DeviceKind, Rights};

use super::{
    secret::PasswordError,
    ticket::{KEY_AGE_MS, LIFE_MS, Proof},
    *,
};
use crate::store::Role;

const NOW: u64 = 1_800_000_000_000;

/// A directory of the test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-accounts-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> Store {
        Store::create(&self.0).expect("a store")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(name: &str) -> UserId {
    UserId::parse(name, 255).expect("a name")
}

fn password(text: &str) -> Secret {
    Secret::of_password(text.as_bytes()).expect("a password")
}

fn login(user: &str, credential_kind: CredentialKind, credential: &'static [u8]) -> LoginRequest {
    LoginRequest {
        user: name(user),
        device: DeviceKind::PHONE,
        credential_kind,
        credential: Bytes::from_static(credential),
        system_token: Bytes::new(),
        ticket: Bytes::new(),
        interactive: true,
        address: None,
    }
}

/// Accounts with `ann`, whose password is `secret`.
fn accounts(directory: &Directory) -> Accounts {
    let hash = hash(&password("secret")).expect("a hash");
    directory.store().add_account(&name("ann"), &hash, Role::User).expect("a store");
    Accounts::open(&directory.0, Admins::default()).expect("accounts")
}

fn is_refused(decision: &Decision) -> bool {
    matches!(decision, Decision::Refuse { cause } if cause == REFUSED)
}

// Passwords.

#[test]
fn a_password_and_its_md5_open_the_same_account() {
    let stored = hash(&password("password")).expect("a hash");
    let mut memory = Vec::new();
    // RFC 1321 has no such digest; it is that of `md5sum`.
    let md5 = Secret::of_md5hex(b"5f4dcc3b5aa765d61d8327deb882cf99").expect("digits");
    let capitals = Secret::of_md5hex(b"5F4DCC3B5AA765D61D8327DEB882CF99").expect("digits");
    for secret in [password("password"), md5, capitals] {
        assert!(verify(&secret, &stored, &mut memory));
    }
    assert!(!verify(&password("Password"), &stored, &mut memory));
    // The digits are no password that opens it, or a stolen list of them would be.
    assert!(!verify(&password("5f4dcc3b5aa765d61d8327deb882cf99"), &stored, &mut memory));
}

#[test]
fn the_hash_says_what_it_cost_and_no_two_are_alike() {
    let (one, two) = (hash(&password("x")).expect("a hash"), hash(&password("x")).expect("a hash"));
    assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
    assert_ne!(one, two);
}

#[test]
fn what_no_password_can_be_is_told_apart() {
    let refused = |bytes: &[u8]| Secret::of_password(bytes).map(|_| ()).expect_err("no password");
    assert_eq!(refused(b""), PasswordError::Empty);
    assert_eq!(refused(&[b'x'; MAX_PASSWORD + 1]), PasswordError::TooLong);
    assert_eq!(refused(&vec![b'x'; 1 << 20]), PasswordError::TooLong);
    assert_eq!(refused(b"caf\xe9"), PasswordError::NotUtf8);
    assert!(Secret::of_password(&[b'x'; MAX_PASSWORD]).is_ok());
    for digits in [&b""[..], b"5f4dcc3b5aa765d61d8327deb882cf9", b"5f4dcc3b5aa765d61d8327deb882cf9g", &[b'0'; 33]] {
        assert!(Secret::of_md5hex(digits).is_none());
    }
}

#[test]
fn a_hash_that_cannot_be_read_opens_nothing() {
    for stored in ["", "none", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", "$scrypt$ln=1$c29tZXNhbHQ$AAAA"] {
        assert!(!verify(&password("x"), stored, &mut Vec::new()), "{stored}");
    }
}

// Logins.

#[tokio::test]
async fn a_good_credential_is_accepted_with_the_rights_of_its_role() {
    let directory = Directory::new("good");
    let accounts = accounts(&directory);
    let mut store = directory.store();
    let version = store.account(&name("ann")).expect("a store").expect("an account").version;
    let accepted = |rights| Decision::Accept(Accepted { rights, credential_version: version, login_number: None });
    let kinds = [
        login("ann", CredentialKind::Password, b"secret"),
        login("ann", CredentialKind::Md5Hex, b"5ebe2294ecd0e0f08eab7690d2a6ee69"),
    ];
    for login in kinds {
        assert_eq!(accounts.authenticate(login).await, accepted(Rights::NONE));
    }
    store.set_role(&name("ann"), Role::Admin).expect("a store");
    let decision = accounts.authenticate(login("ann", CredentialKind::Password, b"secret")).await;
    let all = Rights::KICK.with(Rights::LIST).with(Rights::GROUPS);
    assert!(matches!(decision, Decision::Accept(Accepted { rights, .. }) if rights == all), "{decision:?}");
}

#[tokio::test]
async fn an_unknown_user_and_every_wrong_credential_get_the_same_answer() {
    let directory = Directory::new("wrong");
    let accounts = accounts(&directory);
    let wrong = [
        login("ann", CredentialKind::Password, b"wrong"),
        login("bob", CredentialKind::Password, b"secret"),
        login("ann", CredentialKind::Password, b""),
        login("ann", CredentialKind::Password, b"caf\xe9"),
        login("ann", CredentialKind::Password, &[b'x'; 4000]),
        login("ann", CredentialKind::Md5Hex, b"secret"),
        login("ann", CredentialKind::Md5Hex, b"00000000000000000000000000000000"),
        login("bob", CredentialKind::Md5Hex, b"5ebe2294ecd0e0f08eab7690d2a6ee69"),
    ];
    for login in wrong {
        let told = format!("{login:?}");
        let decision = accounts.authenticate(login).await;
        assert!(is_refused(&decision), "{told}: {decision:?}");
    }
    for kind in [CredentialKind::None, CredentialKind::Token] {
        let decision = accounts.authenticate(login("ann", kind, b"")).await;
        assert_eq!(decision, Decision::refuse(PASSWORD_NEEDED));
    }
}

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let directory = Directory::new("time");
    let accounts = accounts(&directory);
    let mut took = [Vec::new(), Vec::new()];
    // In turn, so that what else the machine does meets both.
    for _ in 0..9 {
        for (user, took) in ["ann", "bob"].iter().zip(&mut took) {
            let began = Instant::now();
            let decision = accounts.authenticate(login(user, CredentialKind::Password, b"wrong")).await;
            took.push(began.elapsed());
            assert!(is_refused(&decision));
        }
    }
    let [known, unknown] = took.map(|mut took| {
        took.sort_unstable();
        took[4]
    });
    // Without the decoy an unknown user would be answered in a hundredth of the time.
    assert!(unknown > known / 3 && known > unknown / 3, "{known:?} {unknown:?}");
}

#[tokio::test]
async fn a_store_that_fails_refuses_people_and_puts_engines_off() {
    let directory = Directory::new("fails");
    let accounts = accounts(&directory);
    let other = rusqlite::Connection::open(directory.0.join("esf.sqlite")).expect("a database");
    other.execute_batch("ALTER TABLE account RENAME TO hidden").expect("a table");
    let by_hand = login("ann", CredentialKind::Password, b"secret");
    let by_itself = LoginRequest { interactive: false, ..by_hand.clone() };
    let decision = accounts.authenticate(by_hand.clone()).await;
    assert!(matches!(&decision, Decision::Refuse { cause } if cause.contains("at present")), "{decision:?}");
    assert_eq!(accounts.authenticate(by_itself).await, Decision::Later { retry_after: STORE_AGAIN });
    other.execute_batch("ALTER TABLE hidden RENAME TO account").expect("a table");
    assert!(matches!(accounts.authenticate(by_hand).await, Decision::Accept(_)));
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_is_put_off_and_tickets_pass_it() {
    let directory = Directory::new("flood");
    drop(accounts(&directory));
    let accounts = Accounts::open_with(&directory.0, Admins::default(), 1, 7).expect("accounts");
    let mut flood = Vec::new();
    for n in 0..40 {
        let (accounts, user) = (accounts.clone(), if n % 2 == 0 { "ann" } else { "bob" });
        let login = login(user, CredentialKind::Password, b"wrong");
        flood.push(tokio::spawn(async move { accounts.authenticate(login).await }));
    }
    let done = |flood: &[tokio::task::JoinHandle<Decision>]| flood.iter().filter(|login| login.is_finished()).count();
    while done(&flood) < 32 {
        tokio::task::yield_now().await;
    }
    let version = directory.store().account(&name("ann")).expect("a store").expect("an account").version;
    let ticket = accounts.0.tickets.make(&name("ann"), DeviceKind::PHONE, version, 1, store::now_ms());
    let by_ticket = LoginRequest { ticket, ..login("ann", CredentialKind::Password, b"wrong") };
    assert!(matches!(accounts.authenticate(by_ticket).await, Decision::Accept(_)));
    assert!(done(&flood) < 40, "the flood goes on");
    let (mut refused, mut put_off) = (0, 0);
    for login in flood {
        match login.await.expect("no panic") {
            Decision::Later { retry_after } => put_off += usize::from(retry_after >= Duration::from_secs(1)),
            decision => refused += usize::from(is_refused(&decision)),
        }
    }
    assert_eq!((refused, put_off), (8, 32));
    let good = accounts.authenticate(login("ann", CredentialKind::Password, b"secret")).await;
    assert!(matches!(good, Decision::Accept(_)), "it is over");
}

// Tickets.

fn tickets(directory: &Directory) -> Tickets {
    let tickets = Tickets::default();
    tickets.keep_keys(&mut directory.store(), NOW).expect("keys");
    tickets
}

const PHONE: DeviceKind = DeviceKind::PHONE;

#[test]
fn a_ticket_proves_its_user_device_version_and_number() {
    let directory = Directory::new("proof");
    let tickets = tickets(&directory);
    let ticket = tickets.make(&name("ann"), PHONE, 7, 9, NOW);
    let proof = Some(Proof { version: 7, login_number: 9 });
    assert_eq!(tickets.check(&ticket, &name("ann"), PHONE, NOW), proof);
    assert_eq!(tickets.check(&ticket, &name("bob"), PHONE, NOW), None, "another's");
    assert_eq!(tickets.check(&ticket, &name("ann"), DeviceKind::TABLET, NOW), None, "another device's");
    // After a restart: other keys in memory, the same in the store.
    let again = Tickets::default();
    again.keep_keys(&mut directory.store(), NOW).expect("keys");
    assert_eq!(again.check(&ticket, &name("ann"), PHONE, NOW), proof);
    // Another server's.
    let other = Directory::new("proof-other");
    assert_eq!(self::tickets(&other).check(&ticket, &name("ann"), PHONE, NOW), None);
}

#[test]
fn a_forged_ticket_is_no_good_whatever_was_changed_in_it() {
    let directory = Directory::new("forged");
    let tickets = tickets(&directory);
    let ann = name("ann");
    let good = tickets.make(&ann, PHONE, 7, 9, NOW);
    for at in 0..good.len() {
        let mut forged = good.to_vec();
        forged[at] ^= 1;
        assert_eq!(tickets.check(&forged, &ann, PHONE, NOW), None, "byte {at}");
    }
    for len in 0..good.len() {
        assert_eq!(tickets.check(&good[..len], &ann, PHONE, NOW), None, "{len} bytes");
    }
    let longer = [&good[..], b"x"].concat();
    assert_eq!(tickets.check(&longer, &ann, PHONE, NOW), None);
    // A key of nothing signs nothing.
    assert_eq!(tickets.check(&[0; 512], &ann, PHONE, NOW), None);
    assert!(tickets.make(&name(&"x".repeat(255)), PHONE, u64::MAX, u64::MAX, NOW).len() <= 512);
}

#[test]
fn a_ticket_ends_and_one_from_a_wrong_clock_is_no_good() {
    let directory = Directory::new("ends");
    let tickets = tickets(&directory);
    let ann = name("ann");
    let ticket = tickets.make(&ann, PHONE, 7, 9, NOW);
    assert!(tickets.check(&ticket, &ann, PHONE, NOW + LIFE_MS - 1).is_some());
    assert!(tickets.check(&ticket, &ann, PHONE, NOW + LIFE_MS).is_none());
    let ahead = tickets.make(&ann, PHONE, 7, 9, NOW + 10 * LIFE_MS);
    assert!(tickets.check(&ahead, &ann, PHONE, NOW).is_none());
}

#[test]
fn an_older_key_is_good_until_the_last_of_its_tickets_has_ended() {
    let directory = Directory::new("keys");
    let tickets = tickets(&directory);
    let (ann, mut store) = (name("ann"), directory.store());
    let last_of_first = NOW + KEY_AGE_MS - 1;
    tickets.keep_keys(&mut store, last_of_first).expect("keys");
    assert_eq!(store.ticket_keys().expect("keys").len(), 1, "it is young enough");
    let ticket = tickets.make(&ann, PHONE, 7, 9, last_of_first);
    tickets.keep_keys(&mut store, NOW + KEY_AGE_MS).expect("keys");
    assert_eq!(store.ticket_keys().expect("keys").len(), 2);
    assert!(tickets.check(&ticket, &ann, PHONE, last_of_first + LIFE_MS - 1).is_some(), "the key before is known");
    tickets.keep_keys(&mut store, NOW + 2 * KEY_AGE_MS).expect("keys");
    tickets.keep_keys(&mut store, NOW + 3 * KEY_AGE_MS).expect("keys");
    assert!(tickets.check(&ticket, &ann, PHONE, last_of_first + 1).is_none(), "its key is forgotten");
    // What is signed now is signed by the newest.
    let newest = tickets.make(&ann, PHONE, 7, 9, NOW + 3 * KEY_AGE_MS);
    assert!(tickets.check(&newest, &ann, PHONE, NOW + 3 * KEY_AGE_MS).is_some());
}

#[tokio::test]
async fn a_ticket_opens_until_its_account_is_changed_kicked_or_removed() {
    let directory = Directory::new("revoked");
    let accounts = accounts(&directory);
    let (ann, mut store) = (name("ann"), directory.store());
    let ticket = |accounts: &Accounts, store: &Store| {
        let version = store.account(&ann).expect("a store").expect("an account").version;
        accounts.0.tickets.make(&ann, PHONE, version, 42, store::now_ms())
    };
    let with = |ticket: Bytes| LoginRequest { ticket, ..login("ann", CredentialKind::Password, b"wrong") };

    let first = ticket(&accounts, &store);
    let decision = accounts.authenticate(with(first.clone())).await;
    assert!(matches!(decision, Decision::Accept(Accepted { login_number: Some(42), .. })), "{decision:?}");
    accounts.kicked(&ann);
    // Until what was asked for there is done.
    accounts.0.writer.run(|_| Ok(())).await.expect("a store");
    assert!(is_refused(&accounts.authenticate(with(first)).await));

    let second = ticket(&accounts, &store);
    assert!(matches!(accounts.authenticate(with(second.clone())).await, Decision::Accept(_)));
    store.set_password(&ann, &hash(&password("other")).expect("a hash")).expect("a store");
    assert!(is_refused(&accounts.authenticate(with(second)).await));

    let third = ticket(&accounts, &store);
    store.remove_account(&ann).expect("a store");
    assert!(is_refused(&accounts.authenticate(with(third.clone())).await));
    store.add_account(&ann, &hash(&password("new")).expect("a hash"), Role::User).expect("a store");
    assert!(is_refused(&accounts.authenticate(with(third)).await), "the account is another one now");
}

// The threads.

#[tokio::test]
async fn checks_run_in_bounded_number_and_more_than_wait_are_put_off() {
    let pool = Pool::start(2, 3).expect("threads");
    let (begun, begins) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let mut running = Vec::new();
    let job = |n: usize| {
        let (begun, held) = (begun.clone(), held.clone());
        move |_: &mut Vec<argon2::Block>| {
            begun.send(n).expect("somebody listens");
            held.lock().expect("no panic").recv().expect("a word");
            n
        }
    };
    for n in 0..5 {
        let place = pool.reserve().expect("a place");
        running.push(place.run(job(n)));
    }
    assert!(pool.reserve().is_none(), "two run and three wait");
    assert!(pool.wait() >= Duration::from_secs(1));
    let mut running: Vec<_> = running.into_iter().map(Box::pin).collect();
    for running in &mut running {
        assert!(tokio::time::timeout(Duration::from_millis(20), running.as_mut()).await.is_err());
    }
    assert_eq!(begins.try_iter().count(), 2, "no more than the threads run");
    for _ in 0..5 {
        hold.send(()).expect("somebody waits");
    }
    for (n, running) in running.into_iter().enumerate() {
        assert_eq!(running.await, Some(n));
    }
    assert!(pool.reserve().is_some());
}

#[tokio::test]
async fn a_check_that_panics_frees_its_place_and_its_thread() {
    let pool = Pool::start(1, 0).expect("threads");
    let place = pool.reserve().expect("a place");
    let outcome: Option<u8> = place.run(|_| panic!("a test")).await;
    assert_eq!(outcome, None);
    // The place is given back while the panic unwinds.
    let again = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        pool.reserve()
    });
    assert_eq!(again.expect("a place").run(|_| 7).await, Some(7));
    drop(pool.reserve().expect("a place"));
    assert!(pool.reserve().is_some(), "a place that is not used is given back");
}
