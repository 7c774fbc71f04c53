use super::*;
use crate::{
    close::CloseReason,
    login::{ResumeSecret, Rights},
    server::{
        AppResponse, Config, Counters, Generation, Link, LoginClaim, Session,
        testing::{alone, at, claim, login, phone, placed, raw},
    },
    wire::{Flags, Frame, Resume},
};
use LinkState::{Accepted, Answered, Attached, Authenticating, Closed, Closing, LoggingIn, Querying};
use alloc::sync::Arc;
use std::collections::BTreeSet;

/// A link that has come this far.
fn link_in(state: LinkState) -> Link {
    let (config, counters) = (Arc::new(Config::default()), Arc::new(Counters::default()));
    let mut link = Link::new(&config, &counters, crate::ids::LinkId(1), at(0));
    let steps: &[LinkState] = match state {
        Accepted => &[],
        Querying => &[Querying],
        Answered => &[Querying, Answered],
        Authenticating => &[Authenticating],
        LoggingIn => &[Authenticating, LoggingIn],
        Attached => &[Authenticating, LoggingIn, Attached],
        Closing => &[Closing],
        Closed => &[Closed],
    };
    steps.iter().for_each(|to| go(&mut link, *to));
    link
}

/// What leads to a state.
fn go(link: &mut Link, to: LinkState) {
    let frame = |frame: &Frame<'_>| Ok(raw(frame, Flags::default()));
    match to {
        Querying => drop(link.handle_frame(at(0), frame(&Frame::PreQuery { info_type: 1, body: b"" }))),
        Answered => link.handle_response(AppResponse::PreReply(Ok(bytes::Bytes::new()))),
        Authenticating => drop(link.handle_frame(at(0), frame(&Frame::Login(login())))),
        LoggingIn => link.handle_response(AppResponse::Accept(Rights::NONE.into())),
        Attached => {
            let claim = link.poll_login().expect("a login that is to be placed");
            link.handle_placed(at(0), &claim, &placed());
        }
        Closing => link.close(CloseReason::GoingAway),
        Closed => link.handle_closed(None),
        Accepted => {}
    }
}

#[test]
fn a_link_can_take_every_way_of_its_table() {
    for row in LINK {
        let mut link = link_in(row.from);
        assert_eq!(link.state(), row.from);
        go(&mut link, row.to);
        assert_eq!(link.state(), row.to, "from {:?}", row.from);
    }
}

#[test]
fn a_link_takes_no_way_that_its_table_does_not_have() {
    // Whatever is done to it; the machine itself asserts the same of every step.
    let table: BTreeSet<_> = LINK.iter().map(|row| (row.from, row.to)).collect();
    for from in [Accepted, Querying, Answered, Authenticating, LoggingIn, Attached, Closing, Closed] {
        for to in [Querying, Answered, Authenticating, LoggingIn, Closing, Closed] {
            let mut link = link_in(from);
            go(&mut link, to);
            let taken = (from, link.state());
            assert!(from == link.state() || table.contains(&taken), "{taken:?}");
        }
    }
}

#[test]
fn a_session_can_take_every_way_of_its_table() {
    use SessionState::{Attached, Detached, Ended};
    for row in SESSION {
        let (mut session, mut outbox) = alone(Config::default());
        if row.from == Detached {
            session.detach(at(0), Generation::FIRST);
        }
        assert_eq!(session.state(), row.from);
        match row.to {
            Attached => take_over(&mut session),
            Detached => session.detach(at(0), Generation::FIRST),
            Ended => session.end(at(0), CloseReason::Kicked, &mut outbox),
        }
        assert_eq!(session.state(), row.to);
    }
    assert!(SESSION.iter().all(|row| row.from != Ended), "the end is the end");
}

fn take_over(session: &mut Session) {
    let resume = Some(Resume { secret: session.secret(), received: 0 });
    let claim = LoginClaim { attempt: 2, resume, ..claim(&phone("ann")) };
    let _ = session.take_over(&claim, ResumeSecret([9; 16]));
}
