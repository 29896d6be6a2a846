//! Listeners and the table of them, which is copied for every change and never changed in place.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ListenerReport;
use super::event::{Event, EventKind};
use crate::clock::Clock;

/// A listener that panics this often is removed.
const PANICS_MAX: u64 = 3;

type Callback = Box<dyn Fn(&Event<'_>) + Send + Sync>;

pub(super) struct Listener {
    kind: Option<EventKind>,
    name: Option<&'static str>,
    callback: Callback,
    /// 0 while subscribed, then the token of the thread that removed it. Other threads skip it at
    /// once; an emit that was under way on the removing thread keeps to the list it started with.
    removed_by: AtomicU64,
    calls: AtomicU64,
    busy_nanos: AtomicU64,
    panics: AtomicU64,
}

impl Listener {
    pub(super) fn new(
        kind: Option<EventKind>,
        name: Option<&'static str>,
        callback: Callback,
    ) -> Self {
        Listener {
            kind,
            name,
            callback,
            removed_by: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    pub(super) fn call(&self, event: &Event<'_>, clock: &Clock) {
        let _spent = Spent { listener: self, clock, began: clock.monotonic() };
        (self.callback)(event);
    }

    /// True if the call panicked.
    pub(super) fn call_contained(&self, event: &Event<'_>, clock: &Clock) -> bool {
        let panicked = catch_unwind(AssertUnwindSafe(|| self.call(event, clock))).is_err();
        if panicked && self.panics.fetch_add(1, Ordering::Relaxed) == 0 {
            let (name, kind) = (self.name.unwrap_or("anonymous"), event.kind());
            tracing::error!(target: "telemetry", name, ?kind, "a listener panicked");
        }
        panicked
    }

    pub(super) fn is_beyond_repair(&self) -> bool {
        self.panics.load(Ordering::Relaxed) >= PANICS_MAX
    }

    pub(super) fn mark_removed(&self) {
        self.removed_by.store(this_thread(), Ordering::Release);
    }

    pub(super) fn is_removed_elsewhere(&self) -> bool {
        let by = self.removed_by.load(Ordering::Acquire);
        by != 0 && by != this_thread()
    }

    pub(super) fn report(&self) -> ListenerReport {
        ListenerReport {
            name: self.name,
            kind: self.kind,
            calls: self.calls.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
            panics: self.panics.load(Ordering::Relaxed),
        }
    }
}

/// Counts a call and its time, also when it unwinds.
struct Spent<'a> {
    listener: &'a Listener,
    clock: &'a Clock,
    began: Duration,
}

impl Drop for Spent<'_> {
    fn drop(&mut self) {
        let spent = self.clock.monotonic().saturating_sub(self.began);
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.listener.calls.fetch_add(1, Ordering::Relaxed);
        self.listener.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// A number of this thread, never 0.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static TOKEN: Cell<u64> = const { Cell::new(0) };
    }
    if TOKEN.get() == 0 {
        TOKEN.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    TOKEN.get()
}

/// Listeners in the order of their calls.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// Newest first.
    all: Vec<Arc<Listener>>,
    /// Oldest first.
    of_kind: [Vec<Arc<Listener>>; EventKind::COUNT],
}

impl Table {
    pub(super) fn for_kind(&self, kind: EventKind) -> impl Iterator<Item = &Arc<Listener>> {
        self.all.iter().chain(&self.of_kind[kind as usize])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.all.iter().chain(self.of_kind.iter().flatten())
    }

    /// Replaces the listener of the same name in place, or adds.
    pub(super) fn add(&mut self, listener: Arc<Listener>) {
        let list = match listener.kind {
            Some(kind) => &mut self.of_kind[kind as usize],
            None => &mut self.all,
        };
        let namesake =
            list.iter().position(|other| other.name.is_some() && other.name == listener.name);
        match (namesake, listener.kind) {
            (Some(place), _) => {
                list[place].mark_removed();
                list[place] = listener;
            }
            (None, Some(_)) => list.push(listener),
            (None, None) => list.insert(0, listener),
        }
    }

    pub(super) fn remove(&mut self, listener: &Arc<Listener>) {
        let list = match listener.kind {
            Some(kind) => &mut self.of_kind[kind as usize],
            None => &mut self.all,
        };
        list.retain(|other| !Arc::ptr_eq(other, listener));
    }

    pub(super) fn clear(&mut self) {
        self.iter().for_each(|listener| listener.mark_removed());
        *self = Table::default();
    }

    pub(super) fn clear_kind(&mut self, kind: EventKind) {
        self.of_kind[kind as usize].drain(..).for_each(|listener| listener.mark_removed());
    }

    /// The bits of all kinds with a subscriber.
    pub(super) fn mask(&self) -> u64 {
        if !self.all.is_empty() {
            return EventKind::ALL.iter().fold(0, |mask, kind| mask | kind.bit());
        }
        let listened = |kind: &&EventKind| !self.of_kind[**kind as usize].is_empty();
        EventKind::ALL.iter().filter(listened).fold(0, |mask, kind| mask | kind.bit())
    }
}
