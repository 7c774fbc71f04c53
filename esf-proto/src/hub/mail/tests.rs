use super::*;
use crate::{
    ids::Engine,
    server::testing::{at, certain, phone, to},
    time::UnixMillis,
    wire::RawFrame,
};
use std::{vec, vec::Vec};

const SESSION: SessionId = SessionId(5);

fn mail(config: Config) -> Mail<u8> {
    let global = Arc::new(Budget::new(1 << 20));
    Mail::new(&Arc::new(Config { store: true, ..config }), &Arc::default(), &global)
}

fn frame(id: u64, user: &str) -> RawFrame {
    certain(&phone("ann"), to(user), id, 1000)
}

fn letter(id: u64) -> Letter {
    let frame = frame(id, "bob");
    Letter::new(&frame.envelope().unwrap(), frame.bytes().clone()).unwrap()
}

fn put(mail: &mut Mail<u8>, id: u64) -> Result<(), Failure> {
    mail.put(at(0), Some(Source::Engine(phone("ann"))), letter(id))
}

fn requests(mail: &mut Mail<u8>) -> Vec<(JobId, StoreRequest)> {
    core::iter::from_fn(|| mail.poll_request()).collect()
}

fn told(mail: &mut Mail<u8>) -> Vec<Told<u8>> {
    core::iter::from_fn(|| mail.poll_told()).collect()
}

fn open(mail: &mut Mail<u8>, engine: &Engine, session: SessionId) {
    mail.open_tail(at(0), &Receiver { session, engine, handle: &7 });
}

fn page(ids: &[u64], more: bool) -> StoreResponse {
    let message = |id: &u64| StoredMessage {
        id: StoreId(*id),
        accepted_at: UnixMillis(1),
        tries: 0,
        frame: frame(*id, "bob").into_bytes(),
    };
    StoreResponse::Messages { messages: ids.iter().map(message).collect(), more }
}

fn pages(told: &[Told<u8>]) -> Vec<Vec<u64>> {
    let page = |told: &Told<u8>| match told {
        Told::Page { messages, .. } => Some(messages.iter().map(|message| message.id.0).collect()),
        _ => None,
    };
    told.iter().filter_map(page).collect()
}

#[test]
fn a_page_is_asked_for_when_what_was_put_before_is_answered_and_not_later() {
    let mut mail = mail(Config::default());
    put(&mut mail, 1).unwrap();
    put(&mut mail, 2).unwrap();
    let puts = requests(&mut mail);
    open(&mut mail, &phone("bob"), SESSION);
    // What is put from here on does not hold the login up.
    put(&mut mail, 3).unwrap();
    let later = requests(&mut mail);
    assert_eq!((puts.len(), later.len()), (2, 1));
    mail.handle_response(at(1), puts[1].0, Ok(StoreResponse::Stored));
    assert!(requests(&mut mail).is_empty());
    mail.handle_response(at(1), puts[0].0, Err(StoreFailed::new("full")));
    let fetch = requests(&mut mail);
    assert!(matches!(&fetch[..], [(_, StoreRequest::Fetch { after: StoreId(0), .. })]), "{fetch:?}");
    let outcomes: Vec<_> = told(&mut mail)
        .into_iter()
        .filter_map(|told| match told {
            Told::Kept { id, outcome, .. } => Some((id, outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [(2, Ok(())), (1, Err(Failure::Internal))]);
}

#[test]
fn pages_follow_one_another_as_they_are_handed_out() {
    let mut mail = mail(Config::default());
    let bob = phone("bob");
    open(&mut mail, &bob, SESSION);
    let first = requests(&mut mail);
    mail.handle_response(at(1), first[0].0, Ok(page(&[1, 2], true)));
    assert_eq!(pages(&told(&mut mail)), [[1, 2]]);
    assert!(requests(&mut mail).is_empty(), "not before it is handed out");
    mail.tail_drained(at(2), &bob.user, SESSION);
    let second = requests(&mut mail);
    assert!(matches!(second[0].1, StoreRequest::Fetch { after: StoreId(2), .. }));
    mail.handle_response(at(3), second[0].0, Ok(page(&[3], false)));
    mail.tail_drained(at(4), &bob.user, SESSION);
    assert_eq!(pages(&told(&mut mail)), [vec![3], vec![]], "and then the others");
    mail.tail_drained(at(4), &bob.user, SESSION);
    assert!(told(&mut mail).is_empty() && requests(&mut mail).is_empty());
}

#[test]
fn what_was_not_confirmed_at_the_end_was_tried_unless_it_was_never_handed_out() {
    let mut mail = mail(Config::default());
    let bob = phone("bob");
    open(&mut mail, &bob, SESSION);
    let fetch = requests(&mut mail);
    mail.handle_response(at(1), fetch[0].0, Ok(page(&[1, 2, 3], false)));
    mail.confirm(at(2), &bob.user, SESSION, StoreId(1));
    mail.close_tail(at(3), &bob.user, SESSION, &[StoreId(3)]);
    let asked = requests(&mut mail);
    let [(confirm, StoreRequest::Confirm { messages: done, .. }), (tried, StoreRequest::Tried { messages, .. })] =
        &asked[..]
    else {
        panic!("{asked:?}")
    };
    assert_eq!((&done[..], &messages[..]), (&[StoreId(1)][..], &[StoreId(2)][..]));
    // The next login waits for both.
    open(&mut mail, &bob, SessionId(6));
    mail.handle_response(at(4), *confirm, Ok(StoreResponse::Done));
    assert!(requests(&mut mail).is_empty());
    mail.handle_response(at(4), *tried, Ok(StoreResponse::Done));
    assert_eq!(requests(&mut mail).len(), 1);
    mail.close_tail(at(5), &bob.user, SessionId(6), &[]);
    assert_eq!(mail.users(), 0, "nobody is remembered");
}

#[test]
fn who_comes_next_gets_all_again_also_while_a_page_is_under_way() {
    let mut mail = mail(Config::default());
    let (bob, desk) = (phone("bob"), Engine { device: DeviceKind(0), ..phone("bob") });
    open(&mut mail, &bob, SESSION);
    let first = requests(&mut mail);
    mail.handle_response(at(1), first[0].0, Ok(page(&[1, 2], false)));
    open(&mut mail, &desk, SessionId(6));
    let of_desk = requests(&mut mail);
    mail.handle_response(at(2), of_desk[0].0, Ok(page(&[1, 2], true)));
    told(&mut mail);
    let behind = requests(&mut mail);
    assert!(matches!(behind[0].1, StoreRequest::Fetch { after: StoreId(2), .. }), "{behind:?}");
    // The page is on its way when the owner of the first two leaves.
    mail.close_tail(at(3), &bob.user, SESSION, &[]);
    let tried = requests(&mut mail);
    assert!(matches!(tried[..], [(_, StoreRequest::Tried { .. })]), "{tried:?}");
    mail.handle_response(at(4), behind[0].0, Ok(page(&[3], false)));
    mail.handle_response(at(4), tried[0].0, Ok(StoreResponse::Done));
    let again = requests(&mut mail);
    assert!(matches!(again[..], [(_, StoreRequest::Fetch { after: StoreId(0), .. })]), "{again:?}");
    mail.handle_response(at(5), again[0].0, Ok(page(&[1, 2, 3], false)));
    assert_eq!(pages(&told(&mut mail)), [[1, 2, 3]]);
}

#[test]
fn what_is_found_is_fetched_for_who_is_there_though_its_put_was_never_answered() {
    let mut mail = mail(Config::default());
    open(&mut mail, &phone("bob"), SESSION);
    let fetch = requests(&mut mail);
    mail.handle_response(at(1), fetch[0].0, Ok(page(&[], false)));
    assert!(mail.find(at(2), 3, Ticket::default(), letter(1)));
    let find = requests(&mut mail);
    mail.handle_response(at(3), find[0].0, Ok(StoreResponse::Found(false)));
    assert!(requests(&mut mail).is_empty());
    assert!(mail.find(at(4), 3, Ticket::default(), letter(1)));
    let find = requests(&mut mail);
    mail.handle_response(at(5), find[0].0, Ok(StoreResponse::Found(true)));
    let fetch = requests(&mut mail);
    assert!(matches!(fetch[..], [(_, StoreRequest::Fetch { .. })]), "{fetch:?}");
}

#[test]
fn confirms_go_to_the_store_together_while_one_is_under_way() {
    let mut mail = mail(Config::default());
    let bob = phone("bob");
    open(&mut mail, &bob, SESSION);
    requests(&mut mail);
    for id in 1..=3 {
        mail.confirm(at(1), &bob.user, SESSION, StoreId(id));
    }
    let first = requests(&mut mail);
    assert!(matches!(&first[0].1, StoreRequest::Confirm { messages, .. } if messages[..] == [StoreId(1)]));
    mail.handle_response(at(2), first[0].0, Ok(StoreResponse::Done));
    let second = requests(&mut mail);
    assert!(matches!(&second[0].1, StoreRequest::Confirm { messages, .. } if messages[..] == [StoreId(2), StoreId(3)]));
    assert!(matches!(&told(&mut mail)[..], [Told::Confirmed { messages, .. }] if messages[..] == [StoreId(1)]));
    // One that failed is said to nobody; what comes later goes on.
    mail.handle_response(at(3), second[0].0, Err(StoreFailed::new("full")));
    assert!(told(&mut mail).is_empty());
    mail.confirm(at(3), &bob.user, SESSION, StoreId(4));
    assert_eq!(requests(&mut mail).len(), 1);
}

#[test]
fn what_is_on_its_way_to_the_store_is_charged_to_all_until_it_is_answered() {
    let global = Arc::new(Budget::new(10_000));
    let config = Arc::new(Config { store: true, ..Config::default() });
    let mut mail: Mail<u8> = Mail::new(&config, &Arc::default(), &global);
    let mut kept = 0;
    while put(&mut mail, kept + 1).is_ok() {
        kept += 1;
        assert!(kept < 1000, "bounded");
    }
    assert_eq!(put(&mut mail, 9_999), Err(Failure::Busy));
    for (job, _) in requests(&mut mail) {
        mail.handle_response(at(1), job, Ok(StoreResponse::Stored));
    }
    drop(mail);
    assert_eq!(global.used(), 0);
}

#[test]
fn a_request_that_is_not_answered_ends_after_its_time_and_its_answer_is_counted() {
    let mut mail = mail(Config::default());
    put(&mut mail, 1).unwrap();
    assert!(mail.find(at(0), 3, Ticket::default(), letter(1)));
    let asked = requests(&mut mail);
    assert!(asked.iter().all(|(job, _)| Mail::<u8>::owns(*job)) && !Mail::<u8>::owns(JobId(1)));
    assert_eq!(mail.poll_timeout(), Some(at(15_000)));
    mail.handle_timeout(at(14_999));
    assert!(told(&mut mail).is_empty());
    mail.handle_timeout(at(15_000));
    let all = told(&mut mail);
    assert!(
        matches!(&all[..], [Told::Kept { outcome: Err(Failure::TimedOut), .. }, Told::Found { found: None, .. }]),
        "{all:?}"
    );
    assert_eq!((mail.poll_timeout(), mail.users()), (None, 0));
    mail.handle_response(at(15_001), asked[0].0, Ok(StoreResponse::Stored));
    assert!(told(&mut mail).is_empty());
    assert_eq!(mail.counters.store_unasked.get(), 1);
}
