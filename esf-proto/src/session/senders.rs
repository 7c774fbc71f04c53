//! Which certain sends of whom were run: the dedupe of every engine that sent some.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    ids::{DeviceKind, InstanceId, UserId},
    session::dedupe::{Dedupe, Verdict},
};

/// Engines whose ids are remembered.
const ENGINES: usize = 4096;
/// Lives of one user's device, or of the server, that are remembered.
const LIVES: usize = 4;

/// The dedupe of every sending engine: the last 4 lives of a device, 4,096 engines in all (ESF-310, ESF-311).
///
/// Engines are kept in two generations. When the younger has its half of them, the older is forgotten: so what was
/// heard from lately stays, and no call looks at more than one user's devices.
#[derive(Debug, Default)]
pub struct Senders {
    young: Generation,
    old: Generation,
    forgot: bool,
}

#[derive(Debug, Default)]
struct Generation {
    /// The server's lives are under `None`.
    engines: BTreeMap<Option<UserId>, Vec<Sender>>,
    len: usize,
}

#[derive(Debug)]
struct Sender {
    device: DeviceKind,
    instance: InstanceId,
    dedupe: Dedupe,
}

impl Senders {
    /// What to do with the certain send `id` of this engine (`user` is `None` for the server), which is remembered if
    /// it is to be run. `again` says that it is a resend after a fresh login: when its engine may have been forgotten
    /// here, nobody knows whether it was run, so it is [`Verdict::Late`].
    pub fn accept(
        &mut self,
        user: Option<&UserId>,
        device: DeviceKind,
        instance: InstanceId,
        id: u64,
        again: bool,
    ) -> Verdict {
        if self.young.find(user, device, instance).is_none() {
            match self.old.take(user, device, instance) {
                Some(dedupe) => self.remember(user, Sender { device, instance, dedupe }),
                None if again && self.forgot => return Verdict::Late,
                None => self.remember(user, Sender { device, instance, dedupe: Dedupe::default() }),
            }
        }
        self.young.find(user, device, instance).map_or(Verdict::Late, |dedupe| dedupe.accept(id))
    }

    /// Whether the stored message `id` of this engine is new here; it is remembered.
    pub fn accept_stored(&mut self, user: Option<&UserId>, device: DeviceKind, instance: InstanceId, id: u64) -> bool {
        if self.young.find(user, device, instance).is_none() {
            let dedupe = self.old.take(user, device, instance).unwrap_or_default();
            self.remember(user, Sender { device, instance, dedupe });
        }
        self.young.find(user, device, instance).is_some_and(|dedupe| dedupe.accept_stored(id))
    }

    /// Engines that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len + self.old.len
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remember(&mut self, user: Option<&UserId>, sender: Sender) {
        if self.young.len >= ENGINES / 2 {
            let forgotten = core::mem::replace(&mut self.old, core::mem::take(&mut self.young));
            self.forgot |= forgotten.len > 0;
        }
        let device = sender.device;
        self.young.push(user, sender);
        let lives = self.young.lives(user, device) + self.old.lives(user, device);
        if lives > LIVES {
            self.forgot = true;
            if !self.old.forget_first(user, device) {
                self.young.forget_first(user, device);
            }
        }
    }
}

impl Generation {
    fn of(&self, user: Option<&UserId>) -> impl Iterator<Item = &Sender> {
        // Cloning a name counts a reference, no more.
        self.engines.get(&user.cloned()).into_iter().flatten()
    }

    fn find(&mut self, user: Option<&UserId>, device: DeviceKind, instance: InstanceId) -> Option<&mut Dedupe> {
        let senders = self.engines.get_mut(&user.cloned())?;
        let sender = senders.iter_mut().find(|sender| sender.device == device && sender.instance == instance)?;
        Some(&mut sender.dedupe)
    }

    fn lives(&self, user: Option<&UserId>, device: DeviceKind) -> usize {
        self.of(user).filter(|sender| sender.device == device).count()
    }

    fn push(&mut self, user: Option<&UserId>, sender: Sender) {
        self.engines.entry(user.cloned()).or_default().push(sender);
        self.len += 1;
    }

    fn take(&mut self, user: Option<&UserId>, device: DeviceKind, instance: InstanceId) -> Option<Dedupe> {
        self.remove(user, |sender| sender.device == device && sender.instance == instance)
    }

    fn forget_first(&mut self, user: Option<&UserId>, device: DeviceKind) -> bool {
        self.remove(user, |sender| sender.device == device).is_some()
    }

    fn remove(&mut self, user: Option<&UserId>, chosen: impl Fn(&Sender) -> bool) -> Option<Dedupe> {
        let key = user.cloned();
        let senders = self.engines.get_mut(&key)?;
        let at = senders.iter().position(chosen)?;
        let sender = senders.remove(at);
        if senders.is_empty() {
            self.engines.remove(&key);
        }
        self.len -= 1;
        Some(sender.dedupe)
    }
}

#[cfg(test)]
mod tests;
