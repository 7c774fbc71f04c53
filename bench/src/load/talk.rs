//! The protocols that the generator speaks: how a connection begins, and what a message looks like.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::{
    Spec,
    line::{Batch, EsfReader, Incoming, Line},
};
use crate::{Problem, wire};

/// What is spoken on the connections, and what the server does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Talk {
    /// Bytes that come back.
    RawEcho,
    /// Bytes that go to the connection that was accepted next.
    RawRelay,
    /// WebSocket messages that come back.
    WebSocketEcho,
    /// ESF, one frame a WebSocket message.
    Esf,
    /// ESF, with the frames that go at the same time in one WebSocket message.
    EsfCoalesced,
    /// NATS, a subject for each pair.
    Nats,
    /// MQTT 3.1.1 with QoS 0, a topic for each pair.
    Mqtt,
    /// WebSocket messages for whoever has the same path.
    WebSocketRelay,
    /// Socket.IO over WebSocket; an event goes to the pair's other socket.
    SocketIo,
}

/// Opens the connections of a load, logged in and ready to send.
pub(super) fn open(spec: &Spec) -> Result<Vec<Line>, Problem> {
    let mut lines = Vec::with_capacity(spec.pairs * 2);
    for pair in 0..spec.pairs {
        open_pair(spec, pair, &mut lines)?;
    }
    Ok(lines)
}

fn open_pair(spec: &Spec, pair: usize, lines: &mut Vec<Line>) -> Result<(), Problem> {
    let Spec { address, body, in_flight, .. } = *spec;
    let alike = |size: usize, first: u8| Incoming::Alike { size, first, alive: None };
    let at = lines.len();
    let payload = vec![b'7'; body];
    // What the server puts before the payload of a WebSocket message.
    let head = |payload: usize| if payload < 126 { 2 } else { 4 };
    let (sender, receiver, out, incoming) = match spec.talk {
        Talk::RawEcho => {
            let incoming = Incoming::Bytes { size: body, over: 0 };
            let line = Line::new(wire::connect(address)?, at, Batch::whole(&payload, in_flight), incoming)?;
            lines.push(line);
            return Ok(());
        }
        Talk::WebSocketEcho => {
            let mut stream = wire::connect(address)?;
            wire::upgrade(&mut stream, "/", None)?;
            let out = Batch::whole(&wire::message(&payload), in_flight);
            lines.push(Line::new(stream, at, out, alike(head(body) + body, 0x82))?);
            return Ok(());
        }
        Talk::RawRelay => {
            let (sender, receiver) = (wire::connect(address)?, wire::connect(address)?);
            let incoming = Incoming::Bytes { size: body, over: 0 };
            (sender, receiver, Batch::whole(&payload, in_flight), incoming)
        }
        Talk::Esf | Talk::EsfCoalesced => {
            let (from, to) = (format!("a{pair}"), format!("b{pair}"));
            let instance = at as u64 + 1;
            let sender = wire::log_in(address, &from, instance)?;
            let receiver = wire::log_in(address, &to, instance + 1)?;
            let frame = wire::plain((&from, instance), &to, body);
            let out = if spec.talk == Talk::Esf {
                Batch::whole(&wire::message(&frame), in_flight)
            } else {
                Batch::coalesced(&frame, in_flight)
            };
            lines.push(Line::new(sender, at + 1, out, Incoming::Esf(EsfReader::default()))?);
            lines.push(Line::new(receiver, at, Batch::Nothing, Incoming::Esf(EsfReader::default()))?);
            return Ok(());
        }
        Talk::Nats => {
            let subject = format!("s{pair:03}");
            let greet = |subscribe: &str| {
                let mut stream = wire::connect(address)?;
                wire::read_until(&mut stream, b"\r\n")?;
                let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}";
                stream.write_all(format!("{connect}\r\n{subscribe}PING\r\n").as_bytes())?;
                wire::read_until(&mut stream, b"PONG\r\n")?;
                Ok::<_, Problem>(stream)
            };
            let (sender, receiver) = (greet("")?, greet(&format!("SUB {subject} 1\r\n"))?);
            let publish = [format!("PUB {subject} {body}\r\n").as_bytes(), &payload, b"\r\n"].concat();
            let size = format!("MSG {subject} 1 {body}\r\n").len() + body + 2;
            let incoming = Incoming::Alike { size, first: b'M', alive: Some((b"PING\r\n", b"PONG\r\n")) };
            (sender, receiver, Batch::whole(&publish, in_flight), incoming)
        }
        Talk::Mqtt => {
            let topic = format!("t{pair:03}");
            let connect = |name: &str| {
                let mut stream = wire::connect(address)?;
                let rest = [b"\x00\x04MQTT\x04\x02\x00\x00".as_slice(), &string(name)].concat();
                stream.write_all(&packet(0x10, &rest))?;
                wire::read_until(&mut stream, b"\x20\x02\x00\x00")?;
                Ok::<_, Problem>(stream)
            };
            let sender = connect(&format!("a{pair}"))?;
            let mut receiver = connect(&format!("b{pair}"))?;
            receiver.write_all(&packet(0x82, &[b"\x00\x01".as_slice(), &string(&topic), b"\x00"].concat()))?;
            wire::read_until(&mut receiver, b"\x90\x03\x00\x01\x00")?;
            let publish = packet(0x30, &[string(&topic), payload].concat());
            let size = publish.len();
            (sender, receiver, Batch::whole(&publish, in_flight), alike(size, 0x30))
        }
        Talk::WebSocketRelay => {
            let mut streams = [wire::connect(address)?, wire::connect(address)?];
            for (stream, side) in streams.iter_mut().zip(["a", "b"]) {
                wire::upgrade(stream, &format!("/{pair}{side}"), None)?;
                // The server says that it knows the connection.
                wire::read_message(stream)?;
            }
            let [sender, receiver] = streams;
            let out = Batch::whole(&wire::message(&payload), in_flight);
            (sender, receiver, out, alike(head(body) + body, 0x82))
        }
        Talk::SocketIo => {
            let mut streams = [wire::connect(address)?, wire::connect(address)?];
            for (stream, side) in streams.iter_mut().zip(["a", "b"]) {
                let path = format!("/socket.io/?EIO=4&transport=websocket&name={pair}{side}");
                wire::upgrade(stream, &path, None)?;
                wire::read_message(stream)?;
                stream.write_all(&text(b"40"))?;
                while !wire::read_message(stream)?.starts_with(b"40") {
                    // It asks for a sign of life before it says that the socket is there.
                    stream.write_all(&text(b"3"))?;
                }
            }
            let [sender, receiver] = streams;
            let event = [b"42[\"m\",\"".as_slice(), &payload, b"\"]"].concat();
            let size = head(event.len()) + event.len();
            // Its ping is a text of its own, and so is the answer.
            let alive = Some((b"\x81\x012".as_slice(), b"\x81\x81\0\0\0\x003".as_slice()));
            (sender, receiver, Batch::whole(&text(&event), in_flight), Incoming::Alike { size, first: 0x81, alive })
        }
    };
    lines.push(Line::new(sender, at + 1, out, Incoming::Ignored)?);
    lines.push(Line::new(receiver, at, Batch::Nothing, incoming)?);
    Ok(())
}

/// A packet of MQTT.
fn packet(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len = rest.len();
    loop {
        let low = (len % 128) as u8;
        len /= 128;
        packet.push(if len > 0 { low | 0x80 } else { low });
        if len == 0 {
            break;
        }
    }
    packet.extend(rest);
    packet
}

/// A string of MQTT.
fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A text message of WebSocket.
fn text(payload: &[u8]) -> Vec<u8> {
    let mut message = wire::message(payload);
    message[0] = 0x81;
    message
}
