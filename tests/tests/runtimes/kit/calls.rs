//! The calls of a client and a server, written once: their names are the same on every runtime, and only what waits
//! differs. `$then` is `.await` where calls are futures, and nothing where they block; `$within` gives a wait up.

/// Does what a scenario asks of a client. The value is the outcome in words.
macro_rules! call_client {
    ($client:expr, $call:expr, $send_blob:expr, $within:expr; $($then:tt)*) => {
        match $call {
            Call::Send(plain) => {
                words::sent($client.send_with((&plain.to).into(), plain.info_type, &plain.body, plain.options()))
            }
            Call::Message(tagged) => {
                let (to, options) = ((&tagged.to).into(), tagged.options());
                words::sent($client.send_message(to, tagged.info_type, &tagged.body, &tagged.tag, options))
            }
            Call::Certain(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                let outcome = match message.within() {
                    Some(within) => $client.send_certainly_within(to, info_type, body, within)$($then)*,
                    None => $client.send_certainly(to, info_type, body)$($then)*,
                };
                words::called(outcome, words::done)
            }
            Call::Store(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                let outcome = $client.send_certainly_with(to, info_type, body, message.storable())$($then)*;
                words::called(outcome, |delivered| json!(words::name(delivered)))
            }
            Call::Query(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                let outcome = match message.within() {
                    Some(within) => $client.query_within(to, info_type, body, within)$($then)*,
                    None => $client.query(to, info_type, body)$($then)*,
                };
                words::called(outcome, |answer| json!({ "reply": words::body(&answer) }))
            }
            Call::Blob(blob) => $send_blob(&$client, blob)$($then)*,
            Call::Ping { to } => words::called($client.ping(to.into())$($then)*, words::done),
            Call::IsOnline { users } => {
                let users: Vec<UserId> = users.iter().map(|name| user(name)).collect();
                words::called($client.is_online(&users)$($then)*, |online| json!(online))
            }
            Call::MyDevices => words::called($client.my_devices()$($then)*, |devices| {
                devices.iter().map(|device| json!({ "device": device.device.0, "connected": device.connected })).collect()
            }),
            Call::OnlineUsers => words::called($client.online_users(Cursor::START)$($then)*, words::page),
            Call::Kick { user: name } => words::called($client.kick_out(&user(name))$($then)*, words::done),
            Call::Settled { give_up_ms: None } => words::called($client.settled()$($then)*, words::done),
            Call::Settled { give_up_ms: Some(limit) } => {
                let settled = $within.settled(&$client, Duration::from_millis(*limit))$($then)*;
                words::waited(settled, |settled| words::called(settled, words::done))
            }
            Call::Broadcast(one) => {
                words::sent($client.broadcast(&group(&one.group), one.info_type, &one.body, one.options()))
            }
            Call::Contacts => words::called($client.contacts(Cursor::START)$($then)*, words::members),
            Call::OnlineContacts => words::called($client.online_contacts(Cursor::START)$($then)*, words::page),
            Call::Friends => words::called($client.friends(Cursor::START)$($then)*, words::members),
            Call::OnlineFriends => words::called($client.online_friends(Cursor::START)$($then)*, words::page),
            Call::Members { group: id } => {
                words::called($client.group_members(&group(id), Cursor::START)$($then)*, words::members)
            }
            Call::MyGroups => words::called($client.my_groups(Cursor::START)$($then)*, words::groups),
            Call::Quit { group: id } => words::called($client.quit_group(&group(id))$($then)*, words::done),
            Call::Invite { group: id, user: whom } => {
                words::called($client.invite(&group(id), &user(whom))$($then)*, words::done)
            }
            Call::PullIn { group: id, user: whom } => {
                words::called($client.pull_in(&group(id), &user(whom))$($then)*, words::done)
            }
            Call::Remove { group: id, user: whom } => {
                words::called($client.remove_member(&group(id), &user(whom))$($then)*, words::done)
            }
            Call::Tag { group: id, tag } => words::called($client.tag_group(&group(id), tag)$($then)*, words::done),
            Call::Join { group: id } => words::called($client.join_group(&group(id))$($then)*, |joined| json!(joined.created)),
            Call::LogOff => words::ended($client.log_off()$($then)*),
            Call::Close => {
                $client.close();
                json!("ok")
            }
            Call::Closed { give_up_ms: None } => words::ended($client.closed()$($then)*),
            Call::Closed { give_up_ms: Some(limit) } => {
                words::waited($within.closed(&$client, Duration::from_millis(*limit))$($then)*, words::ended)
            }
            Call::ShutDown { .. } | Call::Revoke { .. } => panic!("a client has no such call: {:?}", $call),
        }
    };
}

/// Does what a scenario asks of a server.
macro_rules! call_server {
    ($server:expr, $call:expr; $($then:tt)*) => {
        match $call {
            Call::Send(plain) => {
                words::answered($server.send((&plain.to).into(), plain.info_type, &plain.body), words::done)
            }
            Call::Certain(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                words::answered($server.send_certainly(to, info_type, body)$($then)*, words::done)
            }
            Call::Store(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                let outcome = $server.send_certainly_with(to, info_type, body, message.storable())$($then)*;
                words::answered(outcome, |delivered| json!(words::name(delivered)))
            }
            Call::Query(message) => {
                let (to, info_type, body) = ((&message.to).into(), message.info_type, &message.body);
                let outcome = $server.query(to, info_type, body)$($then)*;
                words::answered(outcome, |answer| json!({ "reply": words::body(&answer) }))
            }
            Call::Broadcast(one) => {
                words::answered($server.broadcast(&group(&one.group), one.info_type, &one.body), words::done)
            }
            Call::IsOnline { users } => users.iter().map(|name| $server.is_online(&user(name))).collect(),
            Call::Kick { user: name } => words::answered($server.kick_out(&user(name)), words::done),
            Call::Blob(blob) => {
                let id = group(blob.group.as_deref().expect("a group"));
                match $server.broadcast_blob(&id, blob.info_type, &blob.name, Bytes::from(&blob.body)) {
                    Ok(sending) => words::blob(sending.outcome()$($then)*),
                    Err(failure) => words::failure(failure),
                }
            }
            Call::Revoke { user: name, below } => {
                $server.revoke(&user(name), *below);
                json!("ok")
            }
            Call::ShutDown { grace_ms } => {
                $server.shut_down(Duration::from_millis(*grace_ms))$($then)*;
                json!("ok")
            }
            other => panic!("a server has no such call: {other:?}"),
        }
    };
}

/// What a client shows.
macro_rules! look_at_client {
    ($client:expr) => {{
        let (client, stats) = (&$client, $client.stats());
        let session: serde_json::Map<String, Value> =
            stats.session.iter().map(|(name, count)| (name.into(), json!(count))).collect();
        json!({
            "state": words::name(client.state()),
            "connected": client.is_connected(),
            "user": client.engine().user.as_str(),
            "device": client.engine().device.0,
            "instance": client.engine().instance.0,
            "buffered_bytes": client.buffered_bytes(),
            "protocol": client.protocol(),
            "extensions": client.extensions(),
            "close": client.close_info().map(|info| json!({ "clean": info.clean, "code": info.code })),
            "max_frame": client.limits().max_frame,
            "max_blob": client.limits().max_blob,
            "max_user_id": client.limits().max_user_id,
            "stats": session,
            "handlers_panicked": stats.handlers_panicked,
            "handlers_cut_off": stats.handlers_cut_off,
            "queries_refused": stats.queries_refused,
            "links_violated": stats.links_violated,
            "links_too_large": stats.links_too_large,
        })
    }};
}

/// What a server shows.
macro_rules! look_at_server {
    ($server:expr) => {{
        let stats = $server.stats();
        let counters: serde_json::Map<String, Value> =
            stats.counters.iter().map(|(name, count)| ((*name).into(), json!(count))).collect();
        json!({ "connections": stats.connections, "links": stats.links, "online": stats.online, "counters": counters })
    }};
}

pub(crate) use {call_client, call_server, look_at_client, look_at_server};
