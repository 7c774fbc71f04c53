//! The words of a login: result, mode, credential, rights, secret.

use core::fmt;

/// The result of a login; the number is the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LoginCode {
    /// Logged in.
    Succeed = 0,
    /// The credential was refused; a cause says why.
    Failed = 1,
    /// The user is logged on with this device kind already, and that login stays.
    HadLoggedOn = 2,
    /// The server speaks another version.
    VersionMismatched = 3,
    /// The device kind may not log in here.
    ClientTypeMismatched = 4,
}

impl LoginCode {
    /// Every result, in the order of its number.
    pub const ALL: &'static [Self] =
        &[Self::Succeed, Self::Failed, Self::HadLoggedOn, Self::VersionMismatched, Self::ClientTypeMismatched];

    /// The result with this number, if there is one.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Whether a login went on where the last link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// A new session: nothing of an older one is replayed.
    Fresh = 0,
    /// The same session on a new link: each side resends exactly what the other has not received.
    Resumed = 1,
}

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CredentialKind {
    /// Nothing.
    None = 0,
    /// The password itself, UTF-8.
    Password = 1,
    /// The lower-case hexadecimal MD5 of the password, as old pages send it.
    Md5Hex = 2,
    /// A token whose meaning the application knows.
    Token = 3,
}

impl CredentialKind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Password),
            2 => Some(Self::Md5Hex),
            3 => Some(Self::Token),
            _ => None,
        }
    }
}

/// What a login may do beyond messaging: a set of bits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rights(u32);

impl Rights {
    /// Nothing beyond messaging.
    pub const NONE: Self = Self(0);
    /// May kick users out.
    pub const KICK: Self = Self(1);
    /// May list the users that are online, and the members of any group.
    pub const LIST: Self = Self(2);
    /// May pull people into dynamic groups, and remove them, whoever made the group.
    pub const GROUPS: Self = Self(4);

    /// The rights with these bits; unknown ones are kept.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as the wire has them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// These rights and the others.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// 128 random bits that let an engine resume its session. Never printed; compared in constant time.
#[derive(Clone, Copy)]
pub struct ResumeSecret(pub [u8; 16]);

impl ResumeSecret {
    /// Compares without telling by its time where the difference is.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0u8, |sum, (a, b)| sum | (a ^ b));
        core::hint::black_box(difference) == 0
    }
}

impl PartialEq for ResumeSecret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}

impl Eq for ResumeSecret {}

impl fmt::Debug for ResumeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeSecret(..)")
    }
}
