//! A server whose application has a word in everything: who may log in, who belongs together, what is sent to it, what may
//! go on between others, and what it hears of the rest.
//!
//! `cargo run -p esf-tokio --example hooks`, then `esf chat --user alice --password alice` beside it, or any client.

use std::{io, net::IpAddr, sync::Arc};

use esf_tokio::{
    Bytes, Callbacks, CloseReason, Context, Decision, Engine, Failure, GroupId, Handler, HandlerFailed, Hooks,
    Intercepted, InterceptedKind, Interceptor, Judgement, LoginRequest, Server, Source, To, Tokio, UserId,
    store::{CallbackStore, StoreFailed},
};

/// Where the application says what it hears.
type Say = Arc<dyn Fn(String) + Send + Sync>;

/// The application.
#[derive(Clone)]
struct House {
    say: Say,
}

/// What is sent to the server itself.
impl Handler for House {
    async fn information(&self, context: Context, info_type: u32, body: Bytes) {
        (self.say)(format!("{} tells {info_type}: {}", name(&context.source), text(&body)));
    }

    async fn query(&self, context: Context, _info_type: u32, body: Bytes) -> Result<Bytes, HandlerFailed> {
        Ok(format!("hello {}, you asked: {}", name(&context.source), text(&body)).into())
    }

    async fn engine_message(&self, context: Context, _info_type: u32, tag: Box<str>, _body: Bytes) {
        (self.say)(format!("{} tells something about {tag}", name(&context.source)));
    }

    async fn blob(&self, context: Context, _info_type: u32, file: Box<str>, body: Bytes) {
        (self.say)(format!("{} sends {file:?} of {} bytes", name(&context.source), body.len()));
    }
}

/// What may go on, between users too.
impl Interceptor for House {
    async fn intercept(&self, message: Intercepted) -> Judgement {
        let too_much = match message.kind {
            InterceptedKind::Blob { total, .. } => total.is_none_or(|total| total > 1 << 20),
            _ => text(&message.body).contains("spam"),
        };
        if too_much { Judgement::Refuse } else { Judgement::Pass }
    }
}

/// What happens.
impl Hooks for House {
    async fn connected(&self, engine: Engine, _takes_messages: bool, address: Option<IpAddr>) {
        let from = address.map_or("somewhere".to_owned(), |address| address.to_string());
        (self.say)(format!("{} connected from {from}", engine.user));
    }

    async fn disconnected(&self, engine: Engine, reason: CloseReason) {
        (self.say)(format!("{} disconnected: {reason:?}", engine.user));
    }

    async fn pushed_out(&self, engine: Engine, by: Engine) {
        (self.say)(format!("{} pushed out by {:?}", engine.user, by.instance));
    }

    async fn transmit_failed(&self, from: Source, to: To, _info_type: u32, failure: Failure) {
        (self.say)(format!("a message of {} to {to:?} failed: {failure}", name(&from)));
    }

    async fn broadcast_failed(&self, group: GroupId, from: Source, to: UserId, failure: Failure) {
        (self.say)(format!("{to} missed what {} sent to {group}: {failure}", name(&from)));
    }

    async fn lagged(&self, events: u64) {
        (self.say)(format!("{events} events were lost"));
    }
}

/// Who may log in: whoever has their own name for a password.
async fn authenticate(login: LoginRequest) -> Decision {
    if login.credential == login.user.as_bytes() { Decision::accept() } else { Decision::refuse("wrong password") }
}

/// Who belongs together: alice and bob, and everybody is one of the staff. A database stands here in earnest.
fn people() -> Option<CallbackStore> {
    let (alice, bob) = (UserId::parse("alice", 64).ok()?, UserId::parse("bob", 64).ok()?);
    let staff = GroupId::parse("staff").ok()?;
    let members = vec![alice.clone(), bob.clone()];
    let contacts = move |user: UserId| {
        let other = if user == alice { Some(bob.clone()) } else { (user == bob).then(|| alice.clone()) };
        async move { Ok::<_, StoreFailed>(other.into_iter().collect()) }
    };
    let groups = move |_: UserId| std::future::ready(Ok(vec![staff.clone()]));
    let of_group = move |group: GroupId| std::future::ready(Ok((group.as_str() == "staff").then(|| members.clone())));
    let people = Callbacks::new().contacts_of(contacts).groups_of(groups).members_of(of_group);
    Some(people.on(Arc::new(Tokio::current()), 64))
}

/// The server, with all of it.
pub(crate) async fn serve(address: &str, say: Say) -> io::Result<Server> {
    let house = House { say };
    let people = people().ok_or_else(|| io::Error::other("no names"))?;
    esf_tokio::server()
        .authenticator(authenticate)
        .pre_query(async |_info_type, _body| Ok(Bytes::from_static(b"hooks 1")))
        .store(people)
        .handler(house.clone())
        .interceptor(house.clone())
        .hooks(house)
        .listen(address)
        .await
}

fn name(source: &Source) -> String {
    source.user().map_or("the server".to_owned(), ToString::to_string)
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it speaks to whoever runs it")]
async fn main() -> io::Result<()> {
    let server = serve("127.0.0.1:4540", Arc::new(|line| println!("{line}"))).await?;
    println!("listening on {:?}", server.local_addr());
    std::future::pending().await
}
