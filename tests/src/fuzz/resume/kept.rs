//! What pam has stored for rita, and what rita confirms of it.

use std::time::Duration;

use bytes::Bytes;
use esf_proto::wire::{Address, Envelope, Frame, Header, RawFrame};

use super::{AGES, Run, text_of};
use crate::{fuzz::Input, world::Outcome};

impl Run {
    /// Rita has handled a message of the store that she got on any of her links.
    pub(super) fn rita_confirms(&mut self, input: &mut Input<'_>) {
        let Some(place) = self.some_link(input) else { return };
        let kept: Vec<(u64, u64)> = self.known.sent.iter().filter_map(of_store).collect();
        let (id, text) = if kept.is_empty() {
            (1, None)
        } else {
            Some(input.of(&kept)).map(|(id, text)| (id, Some(text))).expect("one")
        };
        let line = &mut self.links[place];
        let own = Address::of_engine(&line.raw.engine);
        let confirm = Frame::Confirm { envelope: Envelope::new(Address::Server { instance: 0 }, own, id) };
        let frame = confirm.to_bytes(Header::default()).expect("a confirm");
        if self.known.holder == Some(line.number) {
            self.known.received += 1;
            self.known.old = None;
            self.confirmed.extend(text);
        }
        line.raw.push(&mut self.world, frame);
        if !line.logged_in {
            line.closed = true;
        }
    }

    /// What was stored and not confirmed comes to rita when she is there again, in its order, each once.
    pub(super) fn rita_gets_the_rest(&mut self) {
        let rita = self.world.join("rita");
        self.world.advance(Duration::from_secs(1));
        let messages = &self.world.engine(rita).messages;
        let ids: Vec<_> = messages.iter().map(|message| message.stored.as_ref().map(|stored| stored.id)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?} are not in order");
        let got: Vec<u64> = self.world.texts(rita).iter().map(|text| text.parse().expect("a number")).collect();
        let mut due = Vec::new();
        for (text, id) in &self.stored {
            match self.world.outcome(self.pam, *id) {
                Some(Outcome::Stored) if !self.confirmed.contains(text) => due.push(*text),
                Some(Outcome::Stored | Outcome::Failed(_)) => {}
                other => panic!("{other:?} is no outcome of what rita does not acknowledge"),
            }
        }
        // Of what failed nobody knows.
        let failed =
            |text: &u64| !due.contains(text) && self.stored.contains_key(text) && !self.confirmed.contains(text);
        assert!(due.iter().all(|text| got.contains(text)), "{due:?} was stored, {got:?} came");
        assert!(got.iter().all(|text| due.contains(text) || failed(text)), "{due:?} was stored, {got:?} came");
        self.world.advance(Duration::from_secs(1));
        assert_eq!(self.world.store().waiting(), 0, "what was confirmed is gone");
        let now = self.world.now;
        self.world.session(rita).log_off(now);
        self.world.advance(AGES);
    }
}

/// The number of a message of the store, and what it says.
pub(super) fn of_store(frame: &RawFrame) -> Option<(u64, u64)> {
    let Ok(Frame::Stored { envelope, frame: inner, .. }) = frame.decode() else { return None };
    let inner = RawFrame::parse(Bytes::copy_from_slice(inner)).expect("a frame is kept");
    Some((envelope.id, text_of(&inner).expect("what pam said is kept")))
}
