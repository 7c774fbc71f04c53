//! Two people who mind their own business while somebody else misbehaves.

use crate::world::{Outcome, Who, World};

/// Two logged-in clients. What anybody else does must not be felt by them.
#[derive(Debug, Clone, Copy)]
pub struct Bystanders {
    /// The one.
    pub ann: Who,
    /// The other.
    pub ben: Who,
}

impl Bystanders {
    /// Two clients of the names `ann` and `ben`, logged in.
    #[must_use]
    pub fn join(world: &mut World) -> Self {
        Self { ann: world.join("ann"), ben: world.join("ben") }
    }

    /// Both are on the links that they had from the start, a message with a confirmation and a question get through,
    /// and nobody else's message came.
    ///
    /// # Panics
    /// If one of that is not so.
    pub fn are_unharmed(&self, world: &mut World, after: &str) {
        let Self { ann, ben } = *self;
        let before = (world.texts(ann), world.texts(ben));
        let told = world.send_certainly(ann, "ben", "are you there?");
        let asked = world.query(ben, "ann", "and you?");
        world.run();
        assert_eq!(world.outcome(ann, told), Some(Outcome::Acked), "{after}");
        assert_eq!(world.outcome(ben, asked), Some(Outcome::Replied("and you?".into())), "{after}");
        assert_eq!(world.texts(ann), before.0, "{after}");
        assert_eq!(world.texts(ben), [before.1, vec!["are you there?".into()]].concat(), "{after}");
        for who in [ann, ben] {
            assert!(world.is_online(who), "{after}");
            let stats = world.session(who).stats();
            assert_eq!((stats.connects, stats.violations), (1, 0), "{after}: the first link still stands");
        }
    }
}
