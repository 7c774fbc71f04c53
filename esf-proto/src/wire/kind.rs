//! The one table of frame kinds.

/// Who sends frames of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Clients only.
    ToServer,
    /// The server only.
    ToClient,
    /// Both.
    Both,
}

/// What is fixed about a kind: a row of the table of kinds in PROTOCOL.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindRow {
    /// The kind.
    pub kind: Kind,
    /// Its name in PROTOCOL.md and in vectors.
    pub name: &'static str,
    /// Whether this version speaks it. Otherwise only its number and layout are kept for later.
    pub built: bool,
    /// Whether it takes room in the receiver's window, unless it is volatile (ESF-203).
    pub windowed: bool,
    /// Whether it answers an engine: `to` is an engine or the server (ESF-016).
    pub answer: bool,
    /// Whether [`Flags::VOLATILE`](super::Flags::VOLATILE) is allowed on it (ESF-006).
    pub may_be_volatile: bool,
    /// Who sends it.
    pub direction: Direction,
}

macro_rules! kinds {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal, $direction:ident $(, $property:ident)*;)*) => {
        /// What a frame is; the number is the wire's (PROTOCOL.md, "Kinds").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind { $($(#[doc = $doc])* $name = $number,)* }

        impl Kind {
            /// Every kind that has a number, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// What is fixed about this kind.
            #[must_use]
            pub const fn row(self) -> KindRow {
                match self {
                    $(Self::$name => {
                        #[allow(unused_mut, clippy::allow_attributes, reason = "a kind without properties changes nothing")]
                        let mut row = KindRow {
                            kind: Self::$name,
                            name: stringify!($name),
                            built: false,
                            windowed: false,
                            answer: false,
                            may_be_volatile: false,
                            direction: Direction::$direction,
                        };
                        $(row.$property = true;)*
                        row
                    })*
                }
            }
        }
    };
}

kinds! {
    /// Opens a session, or resumes one.
    Login = 0x01, ToServer, built;
    /// Answers a login.
    LoginResult = 0x02, ToClient, built;
    /// A question before login.
    PreQuery = 0x03, ToServer, built;
    /// Answers a question before login.
    PreReply = 0x04, ToClient, built;
    /// Says why the link is closed; the last frame.
    Close = 0x05, Both, built;
    /// What this side has received and taken.
    Count = 0x06, Both, built;
    /// Asks for a sign of life.
    Heartbeat = 0x07, ToServer, built;
    /// Answers a heartbeat.
    HeartbeatAck = 0x08, ToClient, built;
    /// Asks the client to leave and come back later.
    GoAway = 0x09, ToClient, built;
    /// How much of a stream is held.
    Credit = 0x0A, Both, built;
    /// A piece of a stream.
    Fragment = 0x0B, Both, built;
    /// A message without confirmation.
    Send = 0x10, Both, built, windowed, may_be_volatile;
    /// A message with exactly one outcome.
    Certain = 0x11, Both, built, windowed;
    /// A message to a group.
    Broadcast = 0x12, Both, built, windowed, may_be_volatile;
    /// A message with a tag, for the engine's event.
    EngineMessage = 0x13, Both, built, windowed, may_be_volatile;
    /// A question to a handler.
    Query = 0x14, Both, built;
    /// Answers a query.
    Reply = 0x15, Both, built, answer;
    /// The receiving engine has a certain message.
    Ack = 0x16, Both, built, answer;
    /// Why something failed.
    Failure = 0x17, Both, built, answer;
    /// Asks the server, or a device, for one of the [methods](super::Method).
    Request = 0x18, Both, built;
    /// Answers a request.
    Response = 0x19, Both, built, answer;
    /// A message from the store.
    Stored = 0x1A, ToClient, built, windowed;
    /// A stored message was handled; or it is gone from the store.
    Confirm = 0x1B, Both, built, answer;
    /// A certain message is in the store.
    Accepted = 0x1C, ToClient, built, answer;
    /// Announces a blob, which follows as a stream.
    BlobOffer = 0x20, Both, built;
    /// A blob was sent to its end.
    BlobEnd = 0x21, Both, built;
    /// A blob ends early.
    BlobCancel = 0x22, Both, built;
    /// Reserved: where a stream goes on.
    BlobState = 0x23, Both;
    /// Who came and went.
    Presence = 0x28, ToClient, built;
    /// What happened in a group.
    GroupEvent = 0x29, ToClient, built;
    /// Reserved: offers a file.
    FileOffer = 0x30, Both;
    /// Reserved: answers an offer of a file.
    FileAnswer = 0x31, Both;
    /// Reserved: a page of a folder's files.
    FileManifest = 0x32, Both;
    /// Reserved: a file is whole.
    FileEnd = 0x33, Both;
    /// Reserved: a file ends early.
    FileCancel = 0x34, Both;
    /// Reserved: hashes of the pieces of a file.
    FileHashes = 0x35, Both;
}

/// Kinds as bits by their number, made from the rows: what the relay path asks for each frame.
type Kinds = u64;

const BUILT: Kinds = kinds_where(Property::Built);
const WINDOWED: Kinds = kinds_where(Property::Windowed);
const ANSWERS: Kinds = kinds_where(Property::Answer);
const MAY_BE_VOLATILE: Kinds = kinds_where(Property::MayBeVolatile);

#[derive(Clone, Copy)]
enum Property {
    Built,
    Windowed,
    Answer,
    MayBeVolatile,
}

const fn kinds_where(property: Property) -> Kinds {
    let (mut kinds, mut left) = (0, Kind::ALL);
    while let [kind, rest @ ..] = left {
        let row = kind.row();
        let holds = match property {
            Property::Built => row.built,
            Property::Windowed => row.windowed,
            Property::Answer => row.answer,
            Property::MayBeVolatile => row.may_be_volatile,
        };
        if holds {
            // A number above 63 does not compile.
            kinds |= 1 << (*kind as u8);
        }
        left = rest;
    }
    kinds
}

impl Kind {
    const fn is_in(self, kinds: Kinds) -> bool {
        kinds >> (self as u8) & 1 == 1
    }

    /// The name in PROTOCOL.md and in vectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether this version speaks it. The others have a number only and are treated as unknown (ESF-010).
    #[must_use]
    pub const fn is_built(self) -> bool {
        self.is_in(BUILT)
    }

    /// Whether it takes room in the receiver's window, unless the frame is volatile (ESF-203).
    #[must_use]
    pub const fn is_windowed(self) -> bool {
        self.is_in(WINDOWED)
    }

    /// Whether it answers an engine: `to` is an engine or the server (ESF-016).
    #[must_use]
    pub const fn is_answer(self) -> bool {
        self.is_in(ANSWERS)
    }

    /// Whether it may be volatile (ESF-006).
    #[must_use]
    pub const fn may_be_volatile(self) -> bool {
        self.is_in(MAY_BE_VOLATILE)
    }

    /// Who sends it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        self.row().direction
    }
}

/// Whether the payload of a kind with this number, known or not, starts with an envelope (ESF-010).
pub(super) const fn is_routed(number: u8) -> bool {
    matches!(number, 0x10..=0x7F)
}
