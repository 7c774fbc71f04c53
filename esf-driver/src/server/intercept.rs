//! The application's look at what clients send, before it goes on.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use esf_proto::{
    failure::Failure,
    ids::{DeviceKind, Engine, GroupId, UserId},
    server::Verdict,
    time::{Instant, UnixMillis},
    wire::{Address, Frame},
};

use crate::{
    dispatch::InPlace,
    node::{Asked, Judge, Judged, Node},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    tasks::{BoxFuture, Tasks, catch_panic, within},
};

/// Sees each message, query and blob of a client before it goes on, to whomever it goes, and may refuse it. Also any
/// `Fn(Intercepted) -> impl Future<Output = Judgement>`.
///
/// What one client sends is shown in its order, one after the other: what comes behind waits, and what others send does
/// not. What is refused goes nowhere, and its sender sees `NotAllowed` where it waits for an outcome or asked to be told. An
/// interceptor that panics, or takes longer than its [limit](super::ServerBuilder::intercept_limit), refuses as `Internal`.
/// Answers, acknowledgements and requests to the server are not shown; a blob is shown by its offer, once.
///
/// Up to its first wait it may run where the connection is served, so a verdict that is there at once costs little. What
/// computes for long or blocks belongs on a thread for that.
pub trait Interceptor: Send + Sync + 'static {
    /// Judges one message.
    fn intercept(&self, message: Intercepted) -> impl Future<Output = Judgement> + Send;
}

impl<F, R> Interceptor for F
where
    F: Fn(Intercepted) -> R + Send + Sync + 'static,
    R: Future<Output = Judgement> + Send,
{
    fn intercept(&self, message: Intercepted) -> impl Future<Output = Judgement> + Send {
        self(message)
    }
}

/// What becomes of a message that was shown to an [`Interceptor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on.
    Pass,
    /// It goes nowhere; its sender sees `NotAllowed`.
    Refuse,
}

/// A message, query or blob of a client on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Intercepted {
    /// Who sends it.
    pub from: Engine,
    /// To whom.
    pub to: Recipient,
    /// By which call.
    pub kind: InterceptedKind,
    /// The application's number for what it means.
    pub info_type: u32,
    /// Its body; empty for a blob, whose bytes come later.
    pub body: Bytes,
    /// When the sender says it sent it.
    pub sent_at: Option<UnixMillis>,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipient {
    /// The server's application.
    Server,
    /// A user.
    User(UserId),
    /// One device of a user.
    Device(UserId, DeviceKind),
    /// The members of a group.
    Group(GroupId),
}

/// By which call something was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterceptedKind {
    /// `send`.
    Send,
    /// `send_certainly`.
    Certain,
    /// `query`.
    Query,
    /// `broadcast`.
    Broadcast,
    /// `send_message`.
    EngineMessage {
        /// Its tag.
        tag: Box<str>,
    },
    /// `send_blob`, or `broadcast_blob` if it goes to a group.
    Blob {
        /// The sender's name for it.
        name: Box<str>,
        /// Bytes in all, if the sender knows.
        total: Option<u64>,
    },
}

impl Intercepted {
    fn read(asked: &Asked) -> Option<Self> {
        let frame = asked.frame();
        let (kind, info_type, body) = match frame.decode().ok()? {
            Frame::Send { info_type, body, .. } => (InterceptedKind::Send, info_type, body),
            Frame::Certain { info_type, body, .. } => (InterceptedKind::Certain, info_type, body),
            Frame::Query { info_type, body, .. } => (InterceptedKind::Query, info_type, body),
            Frame::Broadcast { info_type, body, .. } => (InterceptedKind::Broadcast, info_type, body),
            Frame::EngineMessage { info_type, tag, body, .. } => {
                (InterceptedKind::EngineMessage { tag: tag.into() }, info_type, body)
            }
            Frame::BlobOffer { info_type, name, total, .. } => {
                (InterceptedKind::Blob { name: name.into(), total }, info_type, &[][..])
            }
            _ => return None,
        };
        let user = |name| UserId::parse(name, u8::MAX).ok();
        let to = match frame.envelope().ok()?.to {
            Address::Server { .. } => Recipient::Server,
            Address::User { user: name } => Recipient::User(user(name)?),
            Address::Device { user: name, device } | Address::Engine { user: name, device, .. } => {
                Recipient::Device(user(name)?, device)
            }
            Address::Group { group } => Recipient::Group(GroupId::parse(group).ok()?),
        };
        let sent_at = frame.sender_time().map(UnixMillis);
        Some(Self { from: asked.engine().clone(), to, kind, info_type, body: frame.keep(body), sent_at })
    }
}

/// An [`Interceptor`] behind a pointer.
pub(super) trait AnyInterceptor: Send + Sync {
    fn intercept(self: Arc<Self>, message: Intercepted) -> BoxFuture<'static, Judgement>;
}

impl<I: Interceptor> AnyInterceptor for I {
    fn intercept(self: Arc<Self>, message: Intercepted) -> BoxFuture<'static, Judgement> {
        Box::pin(async move { Interceptor::intercept(&*self, message).await })
    }
}

/// Brings frames to the interceptor: in place where that is quick, else in a task, or on one of so many threads.
pub(super) struct Watchman(Arc<Post>);

struct Post {
    interceptor: Arc<dyn AnyInterceptor>,
    tasks: Arc<dyn Tasks>,
    node: Weak<Node>,
    in_place: InPlace,
    /// Where the interceptor blocks.
    threads: Option<Threads>,
}

/// What waits for a thread, of which there are so many. Each session has one frame here at most.
struct Threads {
    limit: usize,
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<(Asked, Intercepted)>,
    threads: usize,
    /// Whose frame is being judged. One that hangs on longer than it may takes no second thread.
    held: HashSet<Engine>,
}

const FAILED: Verdict = Verdict::Refuse(Failure::Internal);

impl Watchman {
    /// `threads` says on how many threads it may block; `None` if it does not.
    pub(super) fn new(
        interceptor: Arc<dyn AnyInterceptor>,
        tasks: &Arc<dyn Tasks>,
        node: &Arc<Node>,
        threads: Option<usize>,
    ) -> Self {
        let threads = threads.map(|limit| Threads { limit, state: Mutex::default() });
        let (tasks, node) = (tasks.clone(), Arc::downgrade(node));
        Self(Arc::new(Post { interceptor, tasks, node, in_place: InPlace::default(), threads }))
    }
}

impl Judge for Watchman {
    fn judge(&self, _now: Instant, asked: &Asked) -> Judged {
        let post = &self.0;
        let Some(message) = Intercepted::read(asked) else { return Judged::Now(Verdict::Pass) };
        if let Some(threads) = &post.threads {
            if threads.lock().held.contains(asked.engine()) {
                return Judged::Now(FAILED);
            }
            let (post, asked) = (post.clone(), asked.clone());
            return Judged::Later(Box::new(move || post.queue(asked, message)));
        }
        let mut judgement = post.interceptor.clone().intercept(message);
        if post.tasks.polls_in_place() && post.in_place.may() {
            let before = post.tasks.now();
            let mut cx = Context::from_waker(Waker::noop());
            let polled = catch_unwind(AssertUnwindSafe(|| judgement.as_mut().poll(&mut cx)));
            post.in_place.note(post.tasks.now().since(before));
            match polled {
                Ok(Poll::Ready(judgement)) => return Judged::Now(verdict(&Ok(judgement))),
                Ok(Poll::Pending) => {}
                Err(panic) => return Judged::Now(verdict(&Err(panic))),
            }
        }
        let (post, asked) = (post.clone(), asked.clone());
        Judged::Later(Box::new(move || {
            let tasks = post.tasks.clone();
            tasks.spawn(Box::pin(async move { post.wait_for(asked, judgement).await }));
        }))
    }
}

impl Post {
    async fn wait_for(&self, asked: Asked, judgement: BoxFuture<'static, Judgement>) {
        let Some(limit) = self.node.upgrade().map(|node| node.config().intercept_limit) else { return };
        // The node refuses at the limit by itself: this is so that the future goes, too.
        if let Some(judged) = within(&*self.tasks, limit, catch_panic(judgement)).await {
            self.tell(&asked, verdict(&judged));
        }
    }

    fn tell(&self, asked: &Asked, verdict: Verdict) {
        if let Some(node) = self.node.upgrade() {
            node.judged(self.tasks.now(), asked, verdict);
        }
    }

    /// Has a frame wait for a thread.
    fn queue(self: Arc<Self>, asked: Asked, message: Intercepted) {
        let Some(threads) = &self.threads else { return };
        let mut state = threads.lock();
        state.frames.push_back((asked, message));
        if state.threads == threads.limit {
            return;
        }
        state.threads += 1;
        drop(state);
        let tasks = self.tasks.clone();
        let worker = Worker { post: self, goes_on: true };
        tasks.spawn(Box::pin(worker.work()));
    }
}

/// A thread for frames that wait. It is counted until it ends, or until nothing waits.
struct Worker {
    post: Arc<Post>,
    goes_on: bool,
}

impl Worker {
    /// Judges what waits, until nothing does.
    async fn work(mut self) {
        while let Some((asked, message)) = self.next() {
            let post = &self.post;
            // It may have waited too long.
            let awaited = post.node.upgrade().is_some_and(|node| node.awaits(&asked));
            let judged = match awaited {
                true => Some(catch_panic(post.interceptor.clone().intercept(message)).await),
                false => None,
            };
            if let Some(threads) = &post.threads {
                threads.lock().held.remove(asked.engine());
            }
            if let Some(judged) = judged {
                post.tell(&asked, verdict(&judged));
            }
        }
    }

    fn next(&mut self) -> Option<(Asked, Intercepted)> {
        let next = self.post.threads.as_ref()?.next();
        self.goes_on = next.is_some();
        next
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // No thread could be started for it.
        if let Some(threads) = self.post.threads.as_ref().filter(|_| self.goes_on) {
            threads.lock().threads -= 1;
        }
    }
}

impl Threads {
    fn next(&self) -> Option<(Asked, Intercepted)> {
        let mut state = self.lock();
        let next = state.frames.pop_front();
        match &next {
            Some((asked, _)) => {
                state.held.insert(asked.engine().clone());
            }
            None => state.threads -= 1,
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verdict(judged: &std::thread::Result<Judgement>) -> Verdict {
    match judged {
        Ok(Judgement::Pass) => Verdict::Pass,
        Ok(Judgement::Refuse) => Verdict::Refuse(Failure::NotAllowed),
        Err(_) => {
            // The panic itself was reported by the panic hook.
            tracing::error!("an interceptor panicked");
            FAILED
        }
    }
}
