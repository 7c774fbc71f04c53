//! The small sets of bits in a frame's header and in a login.

macro_rules! bits {
    ($(#[doc = $doc:expr])* $set:ident { $($(#[doc = $bit_doc:expr])* $name:ident = $bit:literal;)* }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $set(u8);

        impl $set {
            /// No bit.
            pub const NONE: Self = Self(0);
            $($(#[doc = $bit_doc])* pub const $name: Self = Self($bit);)*

            /// The set with these bits; unknown ones are kept.
            #[must_use]
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            /// The bits, as the wire has them.
            #[must_use]
            pub const fn bits(self) -> u8 {
                self.0
            }

            /// This set and the others.
            #[must_use]
            pub const fn with(self, others: Self) -> Self {
                Self(self.0 | others.0)
            }

            /// This set without the others.
            #[must_use]
            pub const fn without(self, others: Self) -> Self {
                Self(self.0 & !others.0)
            }

            /// Whether all of `others` are in this set.
            #[must_use]
            pub const fn contains(self, others: Self) -> bool {
                self.0 & others.0 == others.0
            }
        }
    };
}

bits! {
    /// What the sender says about a frame: byte 5, the same from end to end (ESF-005). Unknown bits are ignored and
    /// relayed as they are.
    Flags {
        /// Whoever does not know the kind closes the link instead of skipping the frame (ESF-011).
        MUST_UNDERSTAND = 0x01;
        /// Extensions stand before the payload (ESF-008).
        EXTENSIONS = 0x02;
        /// Uncounted; may overtake; dropped where a queue is full (ESF-006).
        VOLATILE = 0x04;
        /// The sender of a `Send`, `EngineMessage` or `Broadcast` wants to be told when it was dropped (ESF-303).
        TELL = 0x08;
        /// A copy of an `EngineMessage` goes to the sender's other devices (ESF-305), one of a `Broadcast` to all of them
        /// (ESF-330).
        ECHO = 0x10;
        /// A `Certain` is stored if its target is offline (ESF-331).
        STORE = 0x20;
    }
}

bits! {
    /// What changes from hop to hop: byte 6, outside the immutable part (ESF-007). Unknown bits are ignored.
    Hop {
        /// A resend under the old id after a fresh login (ESF-218).
        AGAIN = 0x01;
    }
}

bits! {
    /// The yes-and-no facts of a login (ESF-101). Unknown bits are ignored.
    LoginBits {
        /// A person or a program logs in anew: this engine's first login, until it succeeds.
        INTERACTIVE = 0x01;
        /// The login is a target for messages and holds its device's place.
        TAKES_MESSAGES = 0x02;
    }
}

/// The two bytes of a frame's header that its author chooses.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The immutable flags. [`Flags::EXTENSIONS`] is set or cleared by the encoder, as there are extensions or not.
    pub flags: Flags,
    /// The flags of this hop.
    pub hop: Hop,
}

impl Header {
    /// A header with these flags and no hop flag.
    #[must_use]
    pub const fn flags(flags: Flags) -> Self {
        Self { flags, hop: Hop::NONE }
    }
}
