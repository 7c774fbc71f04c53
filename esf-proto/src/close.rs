//! Why a connection ended: one table, one stable number each.

macro_rules! close_reasons {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal, $reconnect:literal, $text:literal;)*) => {
        /// Why a connection ended. The number is the wire's; the WebSocket close code is 4000 + number
        /// (PROTOCOL.md, "Close reasons").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum CloseReason { $($(#[doc = $doc])* $name = $number,)* }

        impl CloseReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Whether the client may connect again by itself.
            #[must_use]
            pub const fn may_reconnect(self) -> bool {
                match self { $(Self::$name => $reconnect,)* }
            }

            /// The reason in words, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_reasons! {
    /// The network broke.
    NetworkInterrupted = 0, true, "network interrupted";
    /// The peer sent something that is no frame, or a frame out of place.
    InvalidMessage = 1, false, "invalid message";
    /// The user name is empty, too long, reserved or not UTF-8, or `from` names somebody else.
    WrongUserId = 2, false, "wrong user id";
    /// Nothing was heard for too long.
    HeartbeatTimeout = 3, true, "heartbeat timeout";
    /// A newer login of the same user and device kind took the place.
    PushedOut = 4, false, "pushed out by a newer login";
    /// The user is logged on already and the server keeps the older login.
    NewConnectionIgnored = 5, false, "new connection ignored";
    /// Bytes handed to the transport did not move for too long.
    ChannelOverflow = 6, true, "channel overflow";
    /// The device kind may not log in here.
    UnauthorisedClientType = 7, false, "unauthorised client type";
    /// The server has as many connections as it takes.
    ConnectionLimit = 8, true, "connection limit";
    /// Somebody with the right to do so ended the login.
    Kicked = 9, false, "kicked out";
    /// The server stops, or wants the client elsewhere.
    GoingAway = 10, true, "going away";
    /// The client logged off.
    LoggedOff = 11, false, "logged off";
    /// No login came in time.
    LoginTimeout = 12, true, "login timeout";
    /// The credential was refused.
    LoginFailed = 13, false, "login failed";
    /// The peer speaks another version.
    VersionMismatched = 14, false, "version mismatched";
    /// A frame is larger than the limit.
    TooLarge = 15, false, "too large";
    /// A frame must be understood and is not.
    Unsupported = 16, false, "unsupported";
    /// Too many logins or requests in a time.
    RateLimited = 17, true, "rate limited";
    /// A newer link of the same session took over; the session goes on there.
    Superseded = 18, false, "superseded";
    /// A fault of this side.
    Internal = 19, true, "internal error";
}

impl CloseReason {
    /// The WebSocket close code: 4000 + number.
    #[must_use]
    pub const fn websocket_code(self) -> u16 {
        4000 + self as u16
    }

    /// The reason that a WebSocket close code tells; `None` for a code that is not ours.
    #[must_use]
    pub fn from_websocket_code(code: u16) -> Option<Self> {
        u8::try_from(code.checked_sub(4000)?).ok().and_then(Self::from_u8)
    }

    /// Whether a close for this reason ends the session at once instead of opening its resume window.
    /// `Superseded` ends its link only.
    #[must_use]
    pub const fn ends_session(self) -> bool {
        !self.may_reconnect() && !matches!(self, Self::Superseded)
    }
}
