//! A context: the identity of a series.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use super::key::{Parts, StoredKey};
use super::tags::Tags;
use crate::protocol::MetricType;

/// The kinds that have an identity of their own. `h` and `ms` share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Summed, posted as a rate.
    Counter,
    /// Last value wins.
    Gauge,
    /// Distinct members.
    Set,
    /// Histograms and timers: aggregates and percentiles.
    Histogram,
    /// Sketches.
    Distribution,
}

impl Kind {
    /// Every kind, in the order reports list them.
    pub const ALL: [Kind; 5] =
        [Kind::Counter, Kind::Gauge, Kind::Set, Kind::Histogram, Kind::Distribution];

    /// The word of reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Set => "set",
            Kind::Histogram => "histogram",
            Kind::Distribution => "distribution",
        }
    }
}

impl From<MetricType> for Kind {
    fn from(kind: MetricType) -> Self {
        match kind {
            MetricType::Counter => Kind::Counter,
            MetricType::Gauge => Kind::Gauge,
            MetricType::Set => Kind::Set,
            MetricType::Histogram | MetricType::Timing => Kind::Histogram,
            MetricType::Distribution => Kind::Distribution,
        }
    }
}

/// The host tag was given: the third part is the host, even when it is empty.
const HAS_HOST: u8 = 1;
/// Some tag holds a comma (only rewriting can do that), so tags are joined by newlines.
const NEWLINE_SEPARATED: u8 = 2;
/// The context stands for new ones past a cap.
const OVERFLOW: u8 = 4;
/// The owner of the series posts it, for all hosts.
const GLOBAL: u8 = 16;

/// Name, kind, tag set and host of one series: immutable, in one allocation, cheap to clone.
///
/// Two contexts are equal when kind, name and host agree and the tags are the same set; the order
/// of first sight is what gets posted.
#[derive(Clone, Debug)]
pub struct Context(StoredKey);

/// What a [`Context`] is made of. Tags are unique and hold no newline.
pub struct ContextParts<'a> {
    /// The type of the first line; a timer gives its series the unit `millisecond`.
    pub kind: MetricType,
    /// The final name.
    pub name: &'a [u8],
    /// Unique tags.
    pub tags: &'a [&'a [u8]],
    /// The host of the `host:` tag, none without one.
    pub host: Option<&'a [u8]>,
    /// True for a context that new ones fold into past a cap.
    pub overflow: bool,
    /// True for a series that its owner posts for all hosts: it has no host.
    pub global: bool,
}

impl Context {
    /// Joins the parts. `None` when there are more than 65,535 tags.
    #[must_use]
    pub fn new(parts: &ContextParts<'_>) -> Option<Self> {
        let newline = parts.tags.iter().any(|tag| tag.contains(&b','));
        let separator: &[u8] = if newline { b"\n" } else { b"," };
        let mut marks = 0;
        marks |= if parts.host.is_some() { HAS_HOST } else { 0 };
        marks |= if newline { NEWLINE_SEPARATED } else { 0 };
        marks |= if parts.overflow { OVERFLOW } else { 0 };
        marks |= if parts.global { GLOBAL } else { 0 };
        StoredKey::new(&Parts {
            kind: parts.kind,
            marks,
            tag_count: u16::try_from(parts.tags.len()).ok()?,
            name: parts.name,
            tags: &parts.tags.join(separator),
            third: parts.host.unwrap_or_default(),
        })
        .map(Context)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        // The numbers of `MetricType`, in order; written by `StoredKey::new` alone.
        match self.0.kind() {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 | 3 => Kind::Histogram,
            4 => Kind::Set,
            _ => Kind::Distribution,
        }
    }

    /// True when the line that created it was a timer.
    #[must_use]
    pub fn is_timing(&self) -> bool {
        self.0.kind() == MetricType::Timing as u8
    }

    /// True for a context that new ones fold into past a cap.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.0.marks() & OVERFLOW != 0
    }

    /// True when the owner of the series posts it, for all hosts.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.0.marks() & GLOBAL != 0
    }

    /// The final name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.name()
    }

    /// The context without these tags; none when it has none of them.
    #[must_use]
    pub fn without(&self, tags: &[Box<[u8]>]) -> Option<Context> {
        let is_one = |tag: &[u8]| tags.iter().any(|one| **one == *tag);
        let own = self.tags(&[]);
        if !own.iter().any(is_one) {
            return None;
        }
        let kept: Vec<&[u8]> = own.iter().filter(|tag| !is_one(tag)).collect();
        let kind = match self.kind() {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Set => MetricType::Set,
            Kind::Histogram if self.is_timing() => MetricType::Timing,
            Kind::Histogram => MetricType::Histogram,
            Kind::Distribution => MetricType::Distribution,
        };
        let (name, host) = (self.name(), self.host());
        let (overflow, global) = (self.is_overflow(), self.is_global());
        Context::new(&ContextParts { kind, name, tags: &kept, host, overflow, global })
    }

    /// The host that it is posted with; `default` is that of what comes without a `host:` tag.
    #[must_use]
    pub fn host_or<'a>(&'a self, default: &'a [u8]) -> &'a [u8] {
        self.host().unwrap_or(if self.is_global() { b"" } else { default })
    }

    /// The host that a `host:` tag gave, possibly empty; none without one.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        (self.0.marks() & HAS_HOST != 0).then(|| self.0.third())
    }

    /// Its own tags, then the `common` ones.
    #[must_use]
    pub fn tags<'a>(&'a self, common: &'a [Box<[u8]>]) -> Tags<'a> {
        let separator = if self.0.marks() & NEWLINE_SEPARATED != 0 { b'\n' } else { b',' };
        Tags::new(self.0.tags(), separator, self.0.tag_count(), common)
    }

    /// A hash that ignores the order of tags; equal contexts agree in one process.
    #[must_use]
    pub fn identity_hash(&self, state: &RandomState) -> u64 {
        let base = self.series_hash(state);
        base.wrapping_add((self.kind() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// As [`Context::identity_hash`], without the kind: contexts that post under one name agree.
    #[must_use]
    pub fn series_hash(&self, state: &RandomState) -> u64 {
        self.series_hash_as(self.name(), state)
    }

    /// The [`Context::series_hash`] of a context that differs by its name alone, such as what an
    /// aggregate of a histogram is posted under.
    #[must_use]
    pub fn series_hash_as(&self, name: &[u8], state: &RandomState) -> u64 {
        let mut hasher = state.build_hasher();
        hasher.write(name);
        hasher.write(self.host().unwrap_or_default());
        // A global series is another one than the local one of its name and tags.
        hasher.write_u8(u8::from(self.host().is_some()) | u8::from(self.is_global()) << 1);
        let tags = self.tags(&[]).iter().fold(0_u64, |sum, tag| {
            let mut hasher = state.build_hasher();
            hasher.write(tag);
            sum.wrapping_add(hasher.finish())
        });
        hasher.write_u64(tags);
        hasher.finish()
    }

    /// Half of the [`Context::series_hash`], which is enough in a table of 2^32; found out once for all
    /// copies. `state` must be the same for all who ask one context.
    pub(crate) fn short_series_hash(&self, state: &RandomState) -> u32 {
        match self.0.note() {
            0 => {
                let hash = short(self.series_hash(state));
                self.0.set_note(hash);
                hash
            }
            hash => hash,
        }
    }

    /// The [`Context::short_series_hash`] of a context that differs by its name alone.
    pub(crate) fn short_series_hash_as(&self, name: &[u8], state: &RandomState) -> u32 {
        short(self.series_hash_as(name, state))
    }

    /// As [`Context::short_series_hash`], of contexts that are equal.
    pub(super) fn short_identity_hash(&self, state: &RandomState) -> u32 {
        // An odd factor, so that kinds of one series stand apart.
        self.short_series_hash(state).wrapping_add((self.kind() as u32).wrapping_mul(0x9E37_79B9))
    }

    /// True when both would post the same name, host and tag set, by the same server.
    #[must_use]
    pub fn same_series(&self, other: &Context) -> bool {
        self.same_series_as(self.name(), other)
    }

    /// True when it would post the same series as `other` if it had that name.
    #[must_use]
    pub fn same_series_as(&self, name: &[u8], other: &Context) -> bool {
        name == other.name()
            && self.host() == other.host()
            && self.is_global() == other.is_global()
            && self.same_tags(other)
    }

    fn same_tags(&self, other: &Context) -> bool {
        if self.0.tag_count() != other.0.tag_count() {
            return false;
        }
        if self.0.tags() == other.0.tags() {
            return true;
        }
        let mut ours: Vec<&[u8]> = self.tags(&[]).iter().collect();
        let mut theirs: Vec<&[u8]> = other.tags(&[]).iter().collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }

    /// Heap bytes held by one copy.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Begins to load its bytes.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.0.prefetch(false);
    }

    /// The same bytes as a raw key, when a client that sends exactly these gets this context.
    pub(super) fn as_raw_key(&self) -> &StoredKey {
        &self.0
    }
}

/// Half of a hash, never 0.
fn short(hash: u64) -> u32 {
    (hash as u32).max(1)
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.same_series(other)
    }
}

impl Eq for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(kind: MetricType, name: &str, tags: &[&str], host: Option<&str>) -> Context {
        let tags: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
        let host = host.map(str::as_bytes);
        let name = name.as_bytes();
        let parts = ContextParts { kind, name, tags: &tags, host, overflow: false, global: false };
        Context::new(&parts).unwrap()
    }

    #[track_caller]
    fn compare(a: &Context, b: &Context, equal: bool) {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        assert_eq!(a == b, equal);
        assert_eq!(a.identity_hash(&state) == b.identity_hash(&state), equal);
    }

    #[test]
    fn tag_order_never_matters_and_everything_else_does() {
        let base = context(MetricType::Counter, "n", &["a", "b"], None);
        compare(&base, &context(MetricType::Counter, "n", &["b", "a"], None), true);
        compare(&base, &context(MetricType::Gauge, "n", &["a", "b"], None), false);
        compare(&base, &context(MetricType::Counter, "m", &["a", "b"], None), false);
        compare(&base, &context(MetricType::Counter, "n", &["a"], None), false);
        compare(&base, &context(MetricType::Counter, "n", &["a", "b", ""], None), false);
        compare(&base, &context(MetricType::Counter, "n", &["a", "b"], Some("")), false);
        compare(&base, &context(MetricType::Counter, "n", &["a", "b"], Some("h")), false);
    }

    #[test]
    fn histograms_and_timers_are_one_context() {
        let histogram = context(MetricType::Histogram, "n", &[], None);
        let timer = context(MetricType::Timing, "n", &[], None);
        compare(&histogram, &timer, true);
        assert!(timer.is_timing() && !histogram.is_timing());
    }

    #[test]
    fn a_global_context_is_another_one() {
        let tags: &[&[u8]] = &[b"a"];
        let of = |global: bool, overflow: bool| {
            let (kind, name) = (MetricType::Timing, &b"n"[..]);
            Context::new(&ContextParts { kind, name, tags, host: None, overflow, global }).unwrap()
        };
        let (local, global) = (of(false, false), of(true, false));
        compare(&local, &global, false);
        assert!(global.is_global() && !local.is_global() && global.is_timing());
        assert!(of(true, true).is_overflow() && of(true, true).is_global());
        assert_eq!((local.host_or(b"h"), global.host_or(b"h")), (&b"h"[..], &b""[..]));
        let state = RandomState::with_seeds(1, 2, 3, 4);
        assert_ne!(local.series_hash(&state), global.series_hash(&state));
        let without = global.without(&[Box::from(&b"a"[..])]).unwrap();
        assert!(without.is_global() && without.tags(&[]).iter().count() == 0);
    }

    #[test]
    fn a_tag_with_a_comma_survives() {
        let context = context(MetricType::Set, "n", &["a,b", "c"], None);
        let tags: Vec<&[u8]> = context.tags(&[]).iter().collect();
        assert_eq!(tags, [&b"a,b"[..], b"c"]);
        assert_eq!(context.kind(), Kind::Set);
    }

    #[test]
    fn every_kind_survives_storage() {
        for kind in [
            MetricType::Counter,
            MetricType::Gauge,
            MetricType::Histogram,
            MetricType::Timing,
            MetricType::Set,
            MetricType::Distribution,
        ] {
            assert_eq!(context(kind, "n", &[], None).kind(), Kind::from(kind));
        }
    }
}
