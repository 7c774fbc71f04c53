//! Bodies of the methods of contacts and groups.

use bytes::BytesMut;

use super::{all_or_nothing, list_len, read_list_len};
use crate::wire::{
    DecodeError, EncodeError,
    address::{name, write_name},
    codec::{Reader, Sink},
};

/// A contact, or a member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The user's name.
    pub user: &'a str,
    /// Whether the user is online.
    pub online: bool,
}

impl<'a> Member<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { user: name(reader)?, online: reader.bool()? })
    }

    fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_name(self.user, sink)?;
        sink.u8(self.online.into());
        Ok(())
    }
}

/// One of the groups that a user is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MyGroup<'a> {
    /// The group's id.
    pub group: &'a str,
    /// Whether it is dynamic.
    pub dynamic: bool,
    /// Whether the user made it.
    pub mine: bool,
    /// Its tag; empty if it is not dynamic.
    pub tag: &'a str,
}

const DYNAMIC: u8 = 1;
const MINE: u8 = 2;

impl<'a> MyGroup<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (group, bits) = (name(reader)?, reader.u8()?);
        let (dynamic, mine) = (bits & DYNAMIC != 0, bits & MINE != 0);
        Ok(Self { group, dynamic, mine, tag: reader.str16()? })
    }

    fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_name(self.group, sink)?;
        let bit = |holds: bool, bit| if holds { bit } else { 0 };
        sink.u8(bit(self.dynamic, DYNAMIC) | bit(self.mine, MINE));
        sink.str16(self.tag)
    }
}

macro_rules! lists {
    ($($(#[doc = $doc:expr])* $list:ident of $entry:ident;)*) => { $(
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $list<'a> {
            left: u16,
            entries: Reader<'a>,
        }

        impl<'a> $list<'a> {
            /// Appends the response.
            ///
            /// # Errors
            /// There are more than [`MAX_LIST`](super::MAX_LIST), or one of them is not what an entry can say; `out` is
            /// as before.
            pub fn encode(entries: &[$entry<'_>], out: &mut BytesMut) -> Result<(), EncodeError> {
                let count = list_len(entries.len())?;
                all_or_nothing(out, |sink| {
                    sink.u16(count);
                    entries.iter().try_for_each(|entry| entry.write(sink))
                })
            }

            /// Reads the response; the entries can then be iterated.
            ///
            /// # Errors
            /// It is malformed.
            pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(body);
                let left = read_list_len(&mut reader)?;
                let entries = reader;
                (0..left).try_for_each(|_| $entry::read(&mut reader).map(drop))?;
                reader.end()?;
                Ok(Self { left, entries })
            }
        }

        impl<'a> Iterator for $list<'a> {
            type Item = $entry<'a>;

            fn next(&mut self) -> Option<$entry<'a>> {
                self.left = self.left.checked_sub(1)?;
                $entry::read(&mut self.entries).ok()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::from(self.left), Some(usize::from(self.left)))
            }
        }

        impl ExactSizeIterator for $list<'_> {}
    )* };
}

lists! {
    /// The response of `Contacts` and `GroupMembers`: u16 n, n x (str8 user, u8 online).
    Members of Member;
    /// The response of `MyGroups`: u16 n, n x (str8 group, u8 bits, str16 tag).
    MyGroups of MyGroup;
}

macro_rules! bodies {
    ($($(#[doc = $doc:expr])* $body:ident {
        $($(#[doc = $field_doc:expr])* $field:ident: $type:ty = $read:expr, $write:expr;)*
    })*) => { $(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $body<'a> { $($(#[doc = $field_doc])* pub $field: $type,)* }

        impl<'a> $body<'a> {
            /// Appends the body.
            ///
            /// # Errors
            /// A field is not what a body can say; `out` is as before.
            pub fn encode(self, out: &mut BytesMut) -> Result<(), EncodeError> {
                all_or_nothing(out, |sink| {
                    $($write(self.$field, sink)?;)*
                    Ok(())
                })
            }

            /// Reads the body.
            ///
            /// # Errors
            /// It is malformed.
            pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(body);
                let decoded = Self { $($field: $read(&mut reader)?,)* };
                reader.end()?;
                Ok(decoded)
            }
        }
    )* };
}

bodies! {
    /// The request of `GroupMembers`: str8 group, u16 limit. The page starts at the request's cursor.
    MembersQuery {
        /// The group.
        group: &'a str = name, write_name;
        /// The most members in the page: 1 to [`MAX_LIST`](super::MAX_LIST), or 0 for the server's choice.
        limit: u16 = read_list_len, put_u16;
    }
    /// The request of `GroupJoin` and `GroupQuit`: str8 group.
    OfGroup {
        /// The group.
        group: &'a str = name, write_name;
    }
    /// The request of `GroupInvite`, `GroupPullIn` and `GroupRemove`: str8 group, str8 user.
    OfMember {
        /// The group.
        group: &'a str = name, write_name;
        /// Who is meant.
        user: &'a str = name, write_name;
    }
    /// The request of `GroupTag`: str8 group, str16 tag.
    OfTag {
        /// The group.
        group: &'a str = name, write_name;
        /// Its new tag.
        tag: &'a str = Reader::str16, put_str16;
    }
    /// The response of `GroupJoin`: u8 created, str16 tag.
    Joining {
        /// Whether the asker made the group by it.
        created: bool = Reader::bool, put_bool;
        /// The group's tag.
        tag: &'a str = Reader::str16, put_str16;
    }
}

fn put_u16(value: u16, sink: &mut BytesMut) -> Result<(), EncodeError> {
    sink.u16(value);
    Ok(())
}

fn put_bool(value: bool, sink: &mut BytesMut) -> Result<(), EncodeError> {
    sink.u8(value.into());
    Ok(())
}

fn put_str16(text: &str, sink: &mut BytesMut) -> Result<(), EncodeError> {
    sink.str16(text)
}
