//! Peers that misbehave, as tables: a client made by hand against each server, and a server made by hand against each
//! client. Beside them two honest clients and an honest server of the same runtime, who must not notice anything.

mod bad_clients;
mod bad_members;
mod bad_servers;
mod close_codes;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kit::{
    Host, Peer, Runtime,
    inbox::Inbox,
    spec::{Call, ClientSpec, ServerSpec},
};

/// A test for each table.
macro_rules! tables {
    ($($module:ident { $($table:ident)* })*) => {
        macro_rules! on {
            ($runtime:expr) => {
                $(mod $module {
                    $(
                        #[test]
                        fn $table() {
                            super::super::$module::$table(&$runtime);
                        }
                    )*
                })*
            };
        }
    };
}

tables! {
    bad_clients {
        requests_that_are_none
        handshakes_that_never_end
        early_ends
        bytes_that_are_no_websocket
        bytes_that_are_no_frame
        payloads_that_are_not_their_layout
        what_has_no_place_before_the_login
        logins_that_are_none
        logins_that_never_come_or_never_end
        what_has_no_place_after_the_login
        kinds_that_nobody_knows
        somebody_else_in_from
        what_is_too_large
        extensions_that_are_none
        answers_to_nothing
        what_is_not_allowed_or_over
        counts_and_secrets_that_cannot_be
        fragments_and_credits_that_may_not_be
        credits_of_who_receives_that_may_not_be
        an_old_link_that_goes_on_after_a_takeover
        who_stops_reading
        who_reads_slowly
        interceptors_that_refuse_panic_or_never_return
        blobs_to_groups_that_may_not_be
    }
    bad_members {
        cursors_that_are_forged_or_stale
        requests_about_groups_that_are_none
        a_thousand_groups_of_one
    }
    bad_servers {
        replies_that_are_no_websocket
        handshakes_and_logins_that_never_end
        early_ends
        bytes_that_are_no_websocket
        bytes_that_are_no_frame
        what_is_out_of_place
        kinds_that_must_be_understood
        what_another_user_wrote_is_borne
        fragments_that_may_not_be
        credits_that_may_not_be
    }
    close_codes {
        each_close_reason_ends_or_interrupts_the_client
        codes_of_websocket_itself_interrupt_the_client
    }
}

mod tokio {
    on!(crate::kit::on_tokio::Tokio);
}
mod smol {
    on!(crate::kit::on_smol::Smol);
}
mod threads {
    on!(crate::kit::on_threads::Threads);
}

/// A server and two clients who mind their own business.
struct Victims {
    server: Arc<dyn Host>,
    url: String,
    peers: [Box<dyn Peer>; 2],
    inboxes: Vec<Arc<Inbox>>,
}

impl Victims {
    /// A server with these settings, and two clients on it.
    fn with(runtime: &dyn Runtime, settings: Value) -> Self {
        let spec: ServerSpec = serde_json::from_value(settings).expect("settings");
        let mut inboxes = vec![Arc::new(Inbox::new())];
        let server: Arc<dyn Host> = runtime.serve(Some("127.0.0.1:0"), &spec, inboxes[0].clone()).into();
        let url = server.url();
        let peers = ["alice", "bob"].map(|name| {
            let inbox = Arc::new(Inbox::new());
            inboxes.push(inbox.clone());
            let spec = ClientSpec { user: name.into(), ..ClientSpec::default() };
            runtime.connect(&url, &spec, inbox).unwrap_or_else(|cause| panic!("{name}: {cause}"))
        });
        Self { server, url, peers, inboxes }
    }

    fn new(runtime: &dyn Runtime) -> Self {
        Self::with(runtime, json!({}))
    }

    /// A counter of the server.
    fn counter(&self, name: &str) -> u64 {
        self.server.look()["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter is called {name}"))
    }

    /// Both are on their first connections, hear each other, and got nothing from anybody else.
    fn noticed_nothing(&self, after: &str) {
        let call = |peer: usize, call: Value| {
            let call: Call = serde_json::from_value(call).expect("a call");
            self.peers[peer].call(&call).wait()
        };
        assert_eq!(call(0, json!({ "do": "certain", "to": "bob", "body": "there?" })), json!("ok"), "{after}");
        assert_eq!(
            call(1, json!({ "do": "query", "to": "alice", "body": "and you?" })),
            json!({ "reply": "and you?" })
        );
        assert_eq!(self.inboxes[2].next()["body"], "there?", "{after}");
        assert_eq!(self.inboxes[1].next()["body"], "and you?", "{after}");
        for (peer, inbox) in self.peers.iter().zip(&self.inboxes[1..]) {
            let stats = &peer.look()["stats"];
            assert_eq!((&stats["connects"], &stats["violations"]), (&json!(1), &json!(0)), "{after}");
            assert_eq!(inbox.rest(), [] as [Value; 0], "{after}");
        }
    }
}

impl Drop for Victims {
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            inbox.over.open();
        }
        let stop: Call = serde_json::from_value(json!({ "do": "shut_down", "grace_ms": 1000 })).expect("a call");
        let _ = self.server.call(&stop).wait();
    }
}
