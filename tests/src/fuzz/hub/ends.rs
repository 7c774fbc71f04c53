//! How a run ends: everybody gets what is kept for them, everybody goes, and nothing is left.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use esf_proto::{
    close::CloseReason,
    ids::{DeviceKind, Engine, InstanceId, SessionId, UserId},
    server::SessionState,
    store::StoreId,
    wire::{Frame, Header},
};

use super::{NAMES, Run, cast, is_live};
use crate::fuzz::{crowd::STORE_TIMEOUT, town::Cell};

const AGES: Duration = Duration::from_secs(1_000);
const ASKED_AGAIN: Duration = Duration::from_secs(31);
/// A message takes at most so many turns from one to the other.
const ROUNDS: usize = 8;
/// Devices on which what is kept is fetched in the end.
const DEVICES: std::ops::Range<u8> = 0..3;

impl Run {
    /// The store does all that it was asked, and whoever has a link gets what there is.
    pub(super) fn settle(&mut self) {
        self.town.library.post.mood = None;
        if !self.config.keeps_messages {
            return;
        }
        // A store that failed is asked again after a while.
        for wait in [Duration::ZERO, ASKED_AGAIN] {
            self.town.pass(&self.cells, wait);
            for _ in 0..ROUNDS {
                self.town.answer_all(&NAMES);
                for cell in self.cells.clone() {
                    self.receives(&cell);
                    if is_live(&cell) {
                        self.town.count(&cell);
                    }
                }
            }
            self.look();
        }
        let receives = |cell: &&Rc<Cell>| cell.session.borrow().takes_messages();
        let of_cell = |cell: &Rc<Cell>| (cell.session.borrow().engine().clone(), cell.session.borrow().id());
        let (attached, away): (Vec<&Rc<Cell>>, Vec<&Rc<Cell>>) = (self.cells.iter().filter(receives))
            .partition(|cell| cell.session.borrow().state() == SessionState::Attached);
        // What is for somebody of whom one device is away may wait for that one.
        let away: BTreeSet<UserId> = away.into_iter().map(|cell| of_cell(cell).0.user).collect();
        let there: Vec<(Engine, SessionId)> = attached.into_iter().map(of_cell).collect();
        let there: Vec<_> = there.into_iter().filter(|(engine, _)| !away.contains(&engine.user)).collect();
        self.town.library.post.nothing_is_forgotten(&there);
    }

    /// Everybody goes, and whatever is waited for comes to an end.
    pub(super) fn end(&mut self) {
        for cell in self.cells.clone() {
            if is_live(&cell) {
                self.town.end(&cell, CloseReason::NetworkInterrupted);
            }
            self.town.serve(&cell);
        }
        self.town.judge_all();
        self.look();
        self.town.carry_all();
        self.town.pass(&[], STORE_TIMEOUT);
        // What waited for the store may have come to the next verdict.
        self.town.judge_all();
        self.town.carry_all();
        self.town.pass(&[], STORE_TIMEOUT);
    }

    /// Whoever comes gets everything that was kept for them, in order, and then it is gone.
    pub(super) fn fetch_all(&mut self) {
        self.town.library.post.mood = None;
        if !self.config.keeps_messages {
            return;
        }
        for name in NAMES {
            for device in DEVICES.map(DeviceKind) {
                // What is late is done, and has no effect but at the store.
                self.town.answer_all(&NAMES);
                let user = UserId::parse(name, 255).expect("a name");
                let cell = self.enter(Engine { user: user.clone(), device, instance: InstanceId(80) });
                let due = self.town.library.post.waits(&user, device);
                let mut got = Vec::new();
                for _ in 0..=2 * due.len() {
                    self.town.answer_all(&NAMES);
                    for frame in self.town.received(&cell) {
                        if let Ok(Frame::Stored { envelope, .. }) = frame.decode() {
                            got.push(StoreId(envelope.id));
                        }
                    }
                    self.town.count(&cell);
                }
                assert_eq!(got, due, "what was kept for {name} on {device:?} comes once and in order");
                for id in got {
                    let cast = cast(cell.session.borrow().engine());
                    self.say_with(&cell, &cast.confirm(id.0), Header::default());
                }
                self.town.answer_all(&NAMES);
                assert_eq!(self.town.library.post.waits(&user, device), [], "what was confirmed is gone");
                self.town.end(&cell, CloseReason::LoggedOff);
                self.town.answer_all(&NAMES);
                self.look();
            }
        }
    }

    pub(super) fn over(mut self) {
        // What is remembered of logins is forgotten.
        self.town.pass(&[], STORE_TIMEOUT);
        self.town.carry_all();
        self.town.pass(&[], AGES);
        self.town.carry_all();
        self.outcomes();
        assert!(self.ids.is_empty(), "no outcome: {:?}", self.ids);
        assert_eq!((self.town.hub.sessions(), self.town.hub.online()), (0, 0));
        assert_eq!(self.town.global.used(), 0, "bytes are left");
        assert_eq!(self.town.hub.poll_timeout(), None, "the hub waits for something");
        if let Some(mail) = &self.town.mail {
            let mail = mail.borrow();
            assert_eq!((mail.users(), mail.poll_timeout()), (0, None), "the mail waits for something");
        }
    }
}
