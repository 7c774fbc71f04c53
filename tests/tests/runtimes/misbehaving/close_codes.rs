//! Every close reason as a client meets it, from tests/scenarios/close_codes.json.

use esf_proto::{close::CloseReason, wire::Frame};
use esf_tests::by_hand::bytes_of;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Victims, bad_servers::AtTheMercy};
use crate::kit::{Runtime, raw::RawLink, spec::Call};

#[derive(Deserialize)]
struct Table {
    reasons: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    code: u16,
    reason: String,
    #[serde(rename = "comes back")]
    comes_back: bool,
}

/// How a server tells a reason.
const WAYS: [fn(&mut RawLink, CloseReason); 3] = [
    |link, reason| {
        link.push(bytes_of(&Frame::Close { reason, text: "" }));
        link.close(Some(reason.websocket_code()));
    },
    |link, reason| link.close(Some(reason.websocket_code())),
    |link, reason| {
        link.push(bytes_of(&Frame::Close { reason, text: "as a frame alone" }));
        link.break_off();
    },
];

pub(super) fn each_close_reason_ends_or_interrupts_the_client(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let table: Table = serde_json::from_str(include_str!("../../../scenarios/close_codes.json")).expect("a table");
    assert_eq!(table.reasons.len(), CloseReason::ALL.len(), "every reason has a row");
    for Row { code, reason, comes_back } in table.reasons {
        let known = CloseReason::from_websocket_code(code).expect("a reason");
        for (way, tell) in WAYS.iter().enumerate() {
            let what = format!("{reason}, told in way {way}");
            let client = AtTheMercy::new(runtime);
            let mut link = client.welcome();
            tell(&mut link, known);
            if comes_back {
                assert_eq!(interruption(&client), json!(reason), "{what}");
                drop(client.welcome());
            } else {
                let closed: Call = serde_json::from_value(json!({ "do": "closed" })).expect("a call");
                assert_eq!(client.peer.call(&closed).wait(), json!({ "ended": reason }), "{what}");
            }
        }
    }
    victims.noticed_nothing("closes");
}

pub(super) fn codes_of_websocket_itself_interrupt_the_client(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    for code in [None, Some(1000), Some(1001), Some(1011), Some(3000), Some(4020), Some(4999)] {
        let client = AtTheMercy::new(runtime);
        let mut link = client.welcome();
        link.close(code);
        assert_eq!(interruption(&client), json!("NetworkInterrupted"), "{code:?}");
        drop(client.welcome());
    }
    victims.noticed_nothing("other codes");
}

/// Why the client was interrupted.
fn interruption(client: &AtTheMercy) -> Value {
    loop {
        let event = client.peer.event();
        if event["event"] == "ConnectionInterrupted" {
            return event["reason"].clone();
        }
        assert!(event.is_object() && event["event"] != "Closed", "no interruption but {event}");
    }
}
