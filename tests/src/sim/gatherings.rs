//! What must hold of contacts and groups when nothing is under way any more.

use std::collections::BTreeSet;

use esf_proto::ids::DeviceKind;

use super::{
    Engine, Sim,
    judge::Fate,
    ledger::{Kind, Party, Target},
    people::{GROUPS, OF_STORE},
    plan::{PLACES, USERS},
};

/// Each is told what is true of each contact and groupmate.
pub(super) fn presence_is_true(sim: &Sim) -> Result<(), String> {
    let there = || sim.engines.iter().filter(|of| of.online && !of.is_gone());
    let user = |of: &Engine| PLACES[of.place].user;
    let devices = |other: usize| there().filter(move |of| user(of) == other).map(|of| PLACES[of.place].device);
    for of in there() {
        let me = user(of);
        for other in (0..USERS.len()).filter(|other| *other != me) {
            let is: BTreeSet<DeviceKind> = devices(other).collect();
            let seen = &of.seen;
            let wrong = |what: &str| Err(format!("{} takes {what}, it has {is:?}: {seen:?}", of.name));
            if sim.people.are_contacts(me, other) {
                if seen.online.contains(&other) == is.is_empty() {
                    return wrong(&format!("the contact {} for the contrary", USERS[other]));
                }
                let told: BTreeSet<DeviceKind> =
                    seen.devices.iter().filter(|(user, _)| *user == other).map(|(_, device)| *device).collect();
                if told != is {
                    return wrong(&format!("the contact {} to have {told:?}", USERS[other]));
                }
            }
            if sim.people.are_mates(me, other) && seen.mates.contains(&other) == is.is_empty() {
                return wrong(&format!("the groupmate {} for the contrary", USERS[other]));
            }
        }
    }
    Ok(())
}

/// What was said in the roll call was heard by each member, and by nobody else.
pub(super) fn groups_are_true(sim: &Sim) -> Result<(), String> {
    let user = |engine: usize| PLACES[sim.engines[engine].place].user;
    let there =
        || (0..sim.engines.len()).filter(|engine| sim.engines[*engine].online && !sim.engines[*engine].is_gone());
    for engine in there() {
        let Some(of) = (0..OF_STORE)
            .find(|of| sim.people.members[*of].contains(&user(engine)) != sim.engines[engine].seen.groups.contains(of))
        else {
            continue;
        };
        return Err(format!("{} is told wrongly of group {}", sim.engines[engine].name, GROUPS[of]));
    }
    for number in &sim.people.calls {
        let Some(sent) = sim.ledger.sent(*number) else { continue };
        let (Party::Engine(from), Target::Group(of)) = (sent.from, sent.to) else { continue };
        let hears = |engine: &usize| user(*engine) != user(from) && sim.engines[*engine].seen.groups.contains(&of);
        let expected: BTreeSet<Party> = there().filter(hears).map(Party::Engine).collect();
        let heard: BTreeSet<Party> = sent.runs.iter().copied().collect();
        if heard != expected {
            let text = format!("#{number} to {} is heard by {heard:?} instead of {expected:?}", GROUPS[of]);
            return Err(format!("{text}: {sent:?}"));
        }
    }
    Ok(())
}

/// A broadcast reaches each member whose session lives on, or the server's application hears why not.
pub(super) fn no_broadcast_is_lost(sim: &Sim) -> Result<(), String> {
    for (number, sent) in sim.ledger.all().filter(|(_, sent)| sent.kind == Kind::Broadcast) {
        let Target::Group(of) = sent.to else { continue };
        let lives = |engine: usize| {
            let party = &sim.engines[engine];
            !party.is_gone()
                && party.began < sent.at
                && party.fresh.iter().all(|fresh| *fresh < sent.at)
                && sim.is_known(engine, sent.at)
        };
        let user = |engine: usize| PLACES[sim.engines[engine].place].user;
        let sent_well = match sent.from {
            Party::Engine(engine) => sim.people.members[of].contains(&user(engine)) && lives(engine),
            Party::Server(_) => sim.server.fresh.iter().all(|fresh| *fresh < sent.at),
        };
        // Without being told its sender hears nothing of a full queue.
        let busy = !sent.tell && sim.server.was_busy() || sim.fate(number) != Fate::Passes;
        if sent.refused || busy || !sent_well || !sent.heard.is_empty() {
            continue;
        }
        for engine in 0..sim.engines.len() {
            let me = user(engine);
            let own = matches!(sent.from, Party::Engine(from) if user(from) == me);
            let missed = sim.people.missed.iter().any(|(group, from, user, at)| {
                group.as_str() == GROUPS[of] && *from == Some(sent.from) && **user == *USERS[me] && *at >= sent.at
            });
            let due = sim.people.members[of].contains(&me) && lives(engine) && (!own || sent.echo) && !missed;
            let party = Party::Engine(engine);
            if due && !sent.runs.contains(&party) && !sent.held.contains(&party) {
                let name = &sim.engines[engine].name;
                return Err(format!("#{number} never came to {name}, and nobody was told: {sent:?}"));
            }
        }
    }
    Ok(())
}
