//! A stamped message is the message that a frame says.

use bytes::Bytes;
use proptest::prelude::*;
use std::{string::String, vec::Vec};

use crate::{
    ids::{DeviceKind, Engine, InstanceId, UserId},
    wire::{Address, Envelope, Flags, Frame, Header, LastRoute, RawFrame, Route, Stamp},
};

fn name() -> impl Strategy<Value = String> {
    "[a-zäß]{1,20}"
}

proptest! {
    #[test]
    fn a_stamp_writes_what_a_frame_says(
        (to, from) in (name(), name()),
        (device, id, info_type, flags) in (any::<u8>(), any::<u64>(), any::<u32>(), any::<u8>()),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let me = Engine { user: UserId::parse(&from, 255).unwrap(), device: DeviceKind(device), instance: InstanceId(id) };
        let addresses = [Address::User { user: &to }, Address::Device { user: &to, device: me.device }, Address::Server { instance: 0 }];
        for to in addresses {
            let header = Header::flags(Flags::from_bits(flags));
            let stamp = Stamp::new(&to, &Address::of_engine(&me)).unwrap();
            let mut written = Vec::new();
            stamp.write_send(header, id, info_type, &body, &mut written);
            prop_assert_eq!(written.len(), stamp.send_len(&body));
            let frame = Frame::Send { envelope: Envelope::new(to, Address::of_engine(&me), id), info_type, body: &body };
            prop_assert_eq!(&written, &frame.to_bytes(header).unwrap());
            let mut encoded = Vec::new();
            frame.encode_measured(header, frame.encoded_len(), &mut encoded);
            prop_assert_eq!(encoded, written);
        }
    }
}

#[test]
fn a_route_is_known_by_its_very_bytes() {
    let bytes = |to: &str, id| {
        let from = Address::Engine { user: "ann", device: DeviceKind(1), instance: InstanceId(7) };
        let envelope = Envelope::new(Address::User { user: to }, from, id);
        Frame::Send { envelope, info_type: 5, body: b"x" }.to_bytes(Header::default()).unwrap()
    };
    let frame = |to, id| RawFrame::parse(bytes(to, id)).unwrap();
    let mut last = LastRoute::default();
    let (ben, ben_too, bent) = (frame("ben", 1), frame("ben", 2), frame("bent", 3));
    assert_eq!(last.of(ben.payload()), None);
    last.keep(&ben.envelope().unwrap(), ben.payload());
    let (route, rest) = last.of(ben_too.payload()).unwrap();
    assert_eq!((route, rest), (Route::of(&ben_too.envelope().unwrap()), &b"\x05\0\0\0x"[..]));
    assert_eq!(last.of(bent.payload()), None);
    let turn = last.turn();
    last.keep(&bent.envelope().unwrap(), bent.payload());
    assert_ne!(last.turn(), turn);
    assert_eq!(last.of(&Bytes::new()), None);
}
