//! The messages of the store that [`Library`](super::crowd::Library) is, and a book of who may get them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use esf_proto::{
    ids::{DeviceKind, Engine, MessageId, SessionId, UserId},
    store::{JobId, StoreFailed, StoreId, StoreKey, StoreRequest, StoreResponse, StoredMessage},
    time::UnixMillis,
};

use super::Input;

/// Numbers of what is kept are above this; those of what a wrong answer makes up are below.
const FIRST: u64 = 1 << 40;
/// How often a message is handed out before it is a dead letter.
const MAX_TRIES: u8 = 5;

/// What waits for its receivers.
#[derive(Debug, Default)]
pub(super) struct Post {
    /// What becomes of the next messages, if they are not kept.
    pub(super) mood: Option<StoreResponse>,
    last: u64,
    waiting: BTreeMap<StoreId, Letter>,
    /// Everything that was ever kept, and for whom.
    shown: BTreeMap<StoreId, (UserId, Option<DeviceKind>, Bytes)>,
    /// What was done about the messages that the store was asked to keep.
    put: BTreeMap<JobId, StoreResponse>,
    /// Numbers that a wrong answer made up.
    made_up: BTreeSet<StoreId>,
    /// The number of each key.
    ids: BTreeMap<StoreKey, StoreId>,
    /// What the hub was told, and is so, to be kept.
    announced: BTreeSet<StoreId>,
    /// What the hub was told, right or wrong, to be in the store.
    told: BTreeSet<StoreKey>,
    /// The session that has got a message.
    with: BTreeMap<StoreId, SessionId>,
}

#[derive(Debug)]
struct Letter {
    user: UserId,
    device: Option<DeviceKind>,
    frame: Bytes,
    tries: u8,
}

impl Letter {
    fn is_for(&self, user: &UserId, device: DeviceKind) -> bool {
        self.user == *user && self.device.is_none_or(|of| of == device)
    }
}

impl Post {
    /// The hub asks. Messages are kept in the order in which they come, whenever that is told.
    pub(super) fn ask(&mut self, job: JobId, request: &StoreRequest) {
        let StoreRequest::Put { key, user, device, frame } = request else { return };
        let done = if self.ids.contains_key(key) {
            StoreResponse::Known
        } else if let Some(mood) = &self.mood {
            mood.clone()
        } else {
            self.last += 1;
            let id = StoreId(FIRST + self.last);
            let letter = Letter { user: user.clone(), device: *device, frame: frame.clone(), tries: 0 };
            self.shown.insert(id, (user.clone(), *device, frame.clone()));
            self.waiting.insert(id, letter);
            self.ids.insert(key.clone(), id);
            StoreResponse::Stored
        };
        self.put.insert(job, done);
    }

    /// The right answer to a request about messages.
    pub(super) fn right(&mut self, job: JobId, request: &StoreRequest) -> StoreResponse {
        match request {
            StoreRequest::Put { .. } => self.put.get(&job).cloned().expect("what was asked"),
            StoreRequest::Find { key } => StoreResponse::Found(self.ids.contains_key(key)),
            StoreRequest::Fetch { user, device, after, max_messages, max_bytes } => {
                let mut left = *max_bytes;
                let mut behind = self.waiting.range(StoreId(after.0 + 1)..).filter(|(_, of)| of.is_for(user, *device));
                let mut messages = Vec::new();
                let more = loop {
                    let Some((id, Letter { frame, tries, .. })) = behind.next() else { break false };
                    if messages.len() == *max_messages || !messages.is_empty() && frame.len() > left {
                        break true;
                    }
                    left = left.saturating_sub(frame.len());
                    let (accepted_at, frame) = (UnixMillis(1), frame.clone());
                    messages.push(StoredMessage { id: *id, accepted_at, tries: *tries, frame });
                };
                StoreResponse::Messages { messages, more }
            }
            StoreRequest::Tried { user, messages } => {
                for id in messages {
                    let Some(letter) = self.waiting.get_mut(id).filter(|letter| letter.user == *user) else { continue };
                    letter.tries += 1;
                    if letter.tries >= MAX_TRIES {
                        self.waiting.remove(id);
                    }
                }
                StoreResponse::Done
            }
            StoreRequest::Confirm { user, messages } => {
                // What is another's is left as it is.
                messages.iter().for_each(|id| {
                    self.waiting
                        .remove(id)
                        .filter(|letter| letter.user != *user)
                        .map(|of| self.waiting.insert(*id, of));
                });
                StoreResponse::Done
            }
            other => panic!("{other:?} is not about messages"),
        }
    }

    /// Messages that nobody has put.
    pub(super) fn make_up(&mut self, input: &mut Input<'_>) -> StoreResponse {
        let id = StoreId(input.number() % FIRST);
        self.made_up.insert(id);
        let (accepted_at, tries) = (UnixMillis(input.number()), input.byte());
        let frame = Bytes::copy_from_slice(input.bytes());
        let messages = vec![StoredMessage { id, accepted_at, tries, frame }];
        StoreResponse::Messages { messages, more: input.flag() }
    }

    /// An answer came in time.
    pub(super) fn heard(&mut self, request: &StoreRequest, answer: &Result<StoreResponse, StoreFailed>) {
        let key = match (request, answer) {
            (StoreRequest::Put { key, .. }, Ok(StoreResponse::Stored | StoreResponse::Known)) => key,
            (StoreRequest::Find { key }, Ok(StoreResponse::Found(true))) => key,
            _ => return,
        };
        self.told.insert(key.clone());
        if matches!((request, answer), (StoreRequest::Put { .. }, Ok(StoreResponse::Stored))) {
            self.announced.extend(self.ids.get(key));
        }
    }

    /// A client hears that its message is kept.
    pub(super) fn accepted(&self, sender: &Engine, id: u64) {
        let key = StoreKey { user: Some(sender.user.clone()), instance: sender.instance, id: MessageId(id) };
        assert!(self.told.contains(&key), "nobody has kept {key:?}");
    }

    /// A client gets a message of the store: it is for that device, and no other device that is there has it.
    pub(super) fn got(
        &mut self,
        by: (&Engine, SessionId),
        id: StoreId,
        frame: &[u8],
        lives: impl Fn(SessionId) -> bool,
    ) {
        let (engine, session) = by;
        let Some((user, device, kept)) = self.shown.get(&id) else {
            assert!(self.made_up.contains(&id), "{id:?} was never in the store");
            return;
        };
        assert!(*user == engine.user && device.is_none_or(|of| of == engine.device), "{id:?} came to {engine:?}");
        assert_eq!(frame, kept, "what is kept stays as it is");
        let before = self.with.insert(id, session).filter(|before| *before != session);
        assert!(!before.is_some_and(lives), "{id:?} is at two devices");
    }

    /// Numbers of messages that may be confirmed: some that wait, or any.
    pub(super) fn some_id(&self, input: &mut Input<'_>) -> u64 {
        let near = self.last.saturating_sub(input.below(8) as u64);
        if input.rarely(8) { input.number() } else { FIRST + near }
    }

    /// The store has done all that it was asked, and these are there with a link: nothing waits that one of them has not
    /// got.
    pub(super) fn nothing_is_forgotten(&self, there: &[(Engine, SessionId)]) {
        for (id, letter) in self.waiting.iter().filter(|(id, _)| self.announced.contains(id)) {
            let is_for = |(engine, _): &&(Engine, SessionId)| letter.is_for(&engine.user, engine.device);
            let mut receivers = there.iter().filter(is_for).peekable();
            let has = |(_, session): &(Engine, SessionId)| self.with.get(id) == Some(session);
            assert!(receivers.peek().is_none() || receivers.any(has), "{id:?} waits, though {there:?} are there");
        }
    }

    /// What waits for this device, oldest first.
    pub(super) fn waits(&self, user: &UserId, device: DeviceKind) -> Vec<StoreId> {
        self.waiting.iter().filter(|(_, letter)| letter.is_for(user, device)).map(|(id, _)| *id).collect()
    }
}
