//! In: facts, emitted where they happen. Out: calls of subscribers. Promise: without a
//! subscriber an emit is one relaxed load and a branch, and the fact is not even built; no emit
//! allocates or takes a lock; a listener that panics harms no other. Refusal: facts are not
//! counters (totals are counted where they arise), and nothing is queued unless a listener asks for
//! it with [`Hub::bounded`].

mod event;
mod listener;
mod query;
mod ring;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use event::{Event, EventKind, RetryCause, Transport};
pub use query::{HookError, Outcome, Question, Results};
pub use ring::Ring;

use crate::clock::Clock;
use listener::{Listener, Table};
use query::Hooks;

/// Emits inside listeners of emits, at most this deep; deeper ones are counted and not delivered.
const DEPTH_MAX: u32 = 8;

/// Where facts meet listeners. Cheap to clone; clones are one hub.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use whippet::telemetry::{Event, EventKind, Hub};
///
/// let hub = Hub::default();
/// let lost = Arc::new(AtomicUsize::new(0));
/// let seen = Arc::clone(&lost);
/// let subscription = hub.subscribe(EventKind::PayloadDropped, Some("alarm"), move |event| {
///     if let Event::PayloadDropped { items, .. } = event {
///         seen.fetch_add(*items, Ordering::Relaxed);
///     }
/// });
/// hub.emit(EventKind::PayloadDropped, || Event::PayloadDropped {
///     destination: "https://api.example.org",
///     reason: "expired",
///     items: 3,
///     bytes: 120,
/// });
/// assert_eq!(lost.load(Ordering::Relaxed), 3);
/// drop(subscription);
/// assert!(!hub.wants(EventKind::PayloadDropped));
/// ```
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    wanted: Mask,
    table: ArcSwap<Table>,
    hooks: ArcSwap<Hooks>,
    /// Writers take turns; emits never come here.
    writing: Mutex<()>,
    propagate_panics: bool,
    clock: Clock,
    panics: AtomicU64,
    suppressed: AtomicU64,
}

/// One bit per [`EventKind`], alone on its cache lines: every emit reads it.
#[repr(align(128))]
struct Mask(AtomicU64);

/// How a hub treats its listeners.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Let a listener's panic go through the emit, for tests. Default false: contained, counted,
    /// and the listener is removed after three.
    pub propagate_panics: bool,
    /// Measures the time listeners take.
    pub clock: Clock,
}

impl Default for HubConfig {
    fn default() -> Self {
        HubConfig { propagate_panics: false, clock: Clock::wall() }
    }
}

/// What one listener has cost so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerReport {
    /// Its name, none for anonymous ones.
    pub name: Option<&'static str>,
    /// The kind it listens to, none for all.
    pub kind: Option<EventKind>,
    /// Calls, the panicking ones included.
    pub calls: u64,
    /// Time spent in it.
    pub busy: Duration,
    /// Calls that panicked.
    pub panics: u64,
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Default for Hub {
    fn default() -> Self {
        Hub::new(HubConfig::default())
    }
}

impl Hub {
    /// A hub without listeners.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Hub(Arc::new(Inner {
            wanted: Mask(AtomicU64::new(0)),
            table: ArcSwap::from_pointee(Table::default()),
            hooks: ArcSwap::from_pointee(Hooks::default()),
            writing: Mutex::new(()),
            propagate_panics: config.propagate_panics,
            clock: config.clock,
            panics: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }))
    }

    /// True while facts of this kind have a subscriber.
    #[inline]
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.0.wanted.0.load(Ordering::Relaxed) & kind.bit() != 0
    }

    /// True while facts of one of these kinds have a subscriber, given as their bits together: one
    /// question where a hot loop has several.
    #[inline]
    #[must_use]
    pub fn wants_any(&self, bits: u64) -> bool {
        self.0.wanted.0.load(Ordering::Relaxed) & bits != 0
    }

    /// Tells the listeners of `kind`; `fact` is only called if there are any, and must give a fact
    /// of that kind. All-listeners come first, the newest of them before the others; then the
    /// kind's own in the order they subscribed.
    #[inline]
    pub fn emit<'a>(&self, kind: EventKind, fact: impl FnOnce() -> Event<'a>) {
        if self.wants(kind) {
            self.deliver(&fact());
        }
    }

    #[cold]
    #[inline(never)]
    fn deliver(&self, event: &Event<'_>) {
        let depth = DEPTH.get();
        if depth >= DEPTH_MAX {
            self.0.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        DEPTH.set(depth + 1);
        let _depth = Restore(depth);
        let table = self.0.table.load();
        for listener in table.for_kind(event.kind()) {
            if listener.is_removed_elsewhere() {
                continue;
            }
            if self.0.propagate_panics {
                listener.call(event, &self.0.clock);
            } else if listener.call_contained(event, &self.0.clock) {
                self.0.panics.fetch_add(1, Ordering::Relaxed);
                if listener.is_beyond_repair() {
                    self.remove(listener);
                }
            }
        }
    }

    /// Calls `listener` for every fact of `kind` until the subscription is dropped. A listener of
    /// the same kind and name is replaced and its place in the order kept; without a name nothing
    /// is ever replaced, also not by the same function (differs from hubs where functions have an
    /// identity).
    ///
    /// A listener runs on the thread that emits, and must not block it; [`Hub::reports`] shows what
    /// it costs.
    pub fn subscribe(
        &self,
        kind: EventKind,
        name: Option<&'static str>,
        listener: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Subscription {
        self.add(Listener::new(Some(kind), name, Box::new(listener)))
    }

    /// Calls `listener` for every fact of every kind, hot ones included.
    pub fn subscribe_all(
        &self,
        name: Option<&'static str>,
        listener: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Subscription {
        self.add(Listener::new(None, name, Box::new(listener)))
    }

    /// Queues what `pick` makes of facts of `kind` for another thread; past `capacity` the oldest is
    /// dropped and counted. `pick` owns what it returns: facts borrow from their emitter.
    pub fn bounded<T: Send + 'static>(
        &self,
        kind: EventKind,
        name: Option<&'static str>,
        capacity: usize,
        pick: impl Fn(&Event<'_>) -> Option<T> + Send + Sync + 'static,
    ) -> (Subscription, Ring<T>) {
        let ring = Ring::new(capacity);
        let inlet = ring.clone();
        let subscription = self.subscribe(kind, name, move |event| {
            if let Some(item) = pick(event) {
                inlet.push(item);
            }
        });
        (subscription, ring)
    }

    /// Answers questions of type `Q` until the subscription is dropped; the same name replaces.
    pub fn answer<Q: Question>(
        &self,
        name: &'static str,
        hook: impl Fn(&Q) -> Q::Answer + Send + Sync + 'static,
    ) -> Subscription {
        let hook = Arc::new(hook);
        let id = self.change_hooks(|hooks| hooks.add::<Q>(name, hook));
        Subscription { hub: self.clone(), what: Some(Subscribed::Hook(id)) }
    }

    /// Asks every hook for `Q`. A hook that panics gives an error and the others still answer.
    pub fn query<Q: Question>(&self, question: &Q) -> Results<Q::Answer> {
        self.0.hooks.load().ask(question, self.0.propagate_panics)
    }

    /// Removes every listener and hook; for tests.
    pub fn clear(&self) {
        self.change(Table::clear);
        self.change_hooks(|hooks| *hooks = Hooks::default());
    }

    /// Removes every listener of one kind; for tests.
    pub fn clear_kind(&self, kind: EventKind) {
        self.change(|table| table.clear_kind(kind));
    }

    /// What every listener has cost so far, all-listeners first.
    #[must_use]
    pub fn reports(&self) -> Vec<ListenerReport> {
        self.0.table.load().iter().map(|listener| listener.report()).collect()
    }

    /// Panics contained so far, removed listeners included.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// Facts not delivered because listeners emitted too deep inside each other.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.0.suppressed.load(Ordering::Relaxed)
    }

    fn add(&self, listener: Listener) -> Subscription {
        let listener = Arc::new(listener);
        let added = Arc::clone(&listener);
        self.change(move |table| table.add(added));
        Subscription { hub: self.clone(), what: Some(Subscribed::Listener(listener)) }
    }

    fn remove(&self, listener: &Arc<Listener>) {
        listener.mark_removed();
        self.change(|table| table.remove(listener));
    }

    /// Copies the table, changes the copy and publishes it with its mask.
    fn change(&self, change: impl FnOnce(&mut Table)) {
        let turn = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.0.table.load());
        change(&mut table);
        let mask = table.mask();
        let old = self.0.table.swap(Arc::new(table));
        self.0.wanted.0.store(mask, Ordering::Relaxed);
        drop(turn);
        drop(old); // a listener may own a subscription, whose drop takes its own turn
    }

    fn change_hooks<T>(&self, change: impl FnOnce(&mut Hooks) -> T) -> T {
        let turn = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hooks = Hooks::clone(&self.0.hooks.load());
        let result = change(&mut hooks);
        let old = self.0.hooks.swap(Arc::new(hooks));
        drop(turn);
        drop(old);
        result
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("listeners", &self.reports()).finish_non_exhaustive()
    }
}

/// Puts the depth back, also when a propagated panic passes.
struct Restore(u32);

impl Drop for Restore {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// A place among the listeners; dropping it leaves. After the drop a call already begun may finish
/// and no other begins, except that an emit which dropped it from one of its own listeners goes
/// through the list it started with.
#[must_use = "dropping it unsubscribes at once; see detach"]
pub struct Subscription {
    hub: Hub,
    what: Option<Subscribed>,
}

enum Subscribed {
    Listener(Arc<Listener>),
    Hook(u64),
}

impl Subscription {
    /// Stays subscribed as long as the hub lives.
    pub fn detach(mut self) {
        self.what = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match self.what.take() {
            Some(Subscribed::Listener(listener)) => self.hub.remove(&listener),
            Some(Subscribed::Hook(id)) => self.hub.change_hooks(|hooks| hooks.remove(id)),
            None => {}
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("detached", &self.what.is_none()).finish()
    }
}
