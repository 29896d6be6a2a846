//! Contexts and their aliases, as first sights make them and time takes them.

use super::*;
use crate::context::OriginRules;
use crate::context::ScopeRules;
use crate::context::limits::ContextLimits;
use crate::tagger::{Cardinality, Identity, Tagger, Tags, WorkloadBuilder};

fn table(limits: ContextLimits) -> Contexts {
    let rules = Rules { limits, ..Rules::default() };
    Contexts::new(Arc::new(rules), RandomState::with_seeds(1, 2, 3, 4))
}

fn resolve(table: &mut Contexts, kind: MetricType, name: &str, tags: &str) -> Decision {
    let raw = RawKey { kind, name: name.as_bytes(), tags: tags.as_bytes(), origin: b"" };
    let hash = table.hash(&raw);
    match table.alias(hash, &raw) {
        Some(alias) => Decision::from_number(alias.decision),
        None => table.resolve(hash, &raw, 10),
    }
}

#[test]
fn spellings_of_one_tag_set_meet_in_one_context() {
    let mut table = table(ContextLimits::default());
    let first = resolve(&mut table, MetricType::Counter, "n", "a,b");
    assert_eq!(resolve(&mut table, MetricType::Counter, "n", "b,a"), first);
    assert_eq!(resolve(&mut table, MetricType::Counter, "n", "a,b,a"), first);
    assert_ne!(resolve(&mut table, MetricType::Gauge, "n", "a,b"), first);
    assert_eq!((table.len(), table.aliases()), (2, 4));
}

#[test]
fn a_global_series_is_one_context_for_all_hosts_and_known_like_any_other() {
    let scope = ScopeRules::new(&["g".to_owned()], &["pod".to_owned()], &[]);
    let rules = Rules { scope: Some(scope), ..Rules::default() };
    let mut table = Contexts::new(Arc::new(rules), RandomState::with_seeds(1, 2, 3, 4));
    let first = resolve(&mut table, MetricType::Counter, "g", "pod:1,a");
    for tags in ["a", "a,pod:2", "host:x,a,device:d", "a,veneurglobalonly"] {
        assert_eq!(resolve(&mut table, MetricType::Counter, "g", tags), first, "{tags}");
    }
    let local = resolve(&mut table, MetricType::Counter, "g", "a,veneurlocalonly");
    assert_ne!(local, first);
    assert_eq!((table.len(), table.aliases()), (2, 6));
    let Decision::Context(id) = first else { panic!("{first:?}") };
    assert!(table.context(id).unwrap().is_global());
    // What has a time of its own is decided under another raw key, and local.
    let raw = RawKey {
        kind: MetricType::Counter,
        name: b"g",
        tags: b"a,veneurlocalonly",
        origin: b"T\n",
    };
    let hash = table.hash(&raw);
    assert_eq!(table.resolve_timestamped(hash, &raw, 10), (local, false));
    let raw = RawKey { tags: b"a", ..raw };
    let hash = table.hash(&raw);
    assert_eq!(table.resolve_timestamped(hash, &raw, 10), (local, true));
    assert_eq!(table.alias(hash, &raw).map(|alias| alias.cell), Some(1), "remembered");
}

#[test]
fn past_the_cap_counters_fold_and_gauges_drop() {
    let mut table = table(ContextLimits { contexts_max: 2, ..ContextLimits::default() });
    let known = resolve(&mut table, MetricType::Counter, "n", "a");
    resolve(&mut table, MetricType::Gauge, "g", "a");
    let folded = resolve(&mut table, MetricType::Counter, "n", "b");
    assert_eq!(resolve(&mut table, MetricType::Counter, "n", "c"), folded);
    let Decision::Context(id) = folded else { panic!("{folded:?}") };
    let context = table.context(id).unwrap();
    assert_eq!(context.name(), b"n");
    assert_eq!(context.tags(&[]).iter().collect::<Vec<_>>(), [OVERFLOW_TAG]);
    let gauge = resolve(&mut table, MetricType::Gauge, "n", "b");
    assert_eq!(gauge, Decision::Drop(DropReason::ContextLimit));
    assert_eq!(resolve(&mut table, MetricType::Counter, "n", "a"), known);
}

#[test]
fn unique_names_past_the_cap_end_in_one_context_of_all() {
    let mut table = table(ContextLimits { contexts_max: 1, ..ContextLimits::default() });
    for number in 0..OVERFLOW_CONTEXTS_MAX + 50 {
        resolve(&mut table, MetricType::Counter, &format!("bomb.{number}"), "");
    }
    // Each kind in its own: of two kinds of one name only one would be posted.
    for (kind, name) in [
        (MetricType::Counter, "whippet.overflow"),
        (MetricType::Set, "whippet.overflow.sets"),
        (MetricType::Timing, "whippet.overflow.histograms"),
        (MetricType::Distribution, "whippet.overflow.distributions"),
    ] {
        let last = resolve(&mut table, kind, "bomb.last", "");
        let Decision::Context(id) = last else { panic!("{last:?}") };
        assert_eq!(table.context(id).unwrap().name(), name.as_bytes());
    }
    assert!(table.len() <= OVERFLOW_CONTEXTS_MAX + 5);
}

#[test]
fn one_exploding_name_hides_no_other_with_a_cap_per_name() {
    let mut table = table(ContextLimits { contexts_per_name_max: 1, ..ContextLimits::default() });
    resolve(&mut table, MetricType::Counter, "n", "a");
    let folded = resolve(&mut table, MetricType::Counter, "n", "b");
    let other = resolve(&mut table, MetricType::Counter, "m", "b");
    assert_ne!(folded, other);
    assert_eq!(table.len(), 3);
}

#[test]
fn what_was_not_seen_dies_and_its_id_is_free_again() {
    let mut table = table(ContextLimits::default());
    let Decision::Context(old) = resolve(&mut table, MetricType::Counter, "old", "") else {
        panic!()
    };
    let Decision::Context(young) = resolve(&mut table, MetricType::Counter, "young", "") else {
        panic!()
    };
    table.entry(young).see(13);
    table.start_sweep(12);
    while table.sweep_step() {}
    let (births, deaths) = table.take_changes();
    assert_eq!((births.len(), deaths), (2, vec![old]));
    assert_eq!(resolve(&mut table, MetricType::Counter, "new", ""), Decision::Context(old));
    assert_eq!(table.len(), 2);
}

#[test]
fn what_the_dead_took_is_given_back_and_the_living_keep_their_ids() {
    let mut table = table(ContextLimits::default());
    let name = |number: u32| format!("flood.{number}");
    for number in 0..100_000 {
        let id = resolve(&mut table, MetricType::Counter, &name(number), "");
        assert_eq!(id, Decision::Context(number));
    }
    // Of the end nobody lives, before it one of a thousand.
    let forget = |table: &mut Contexts, oldest: u32| {
        for number in (0..50_000).step_by(1_000) {
            let name = name(number);
            let (name, kind) = (name.as_bytes(), MetricType::Counter);
            let raw = RawKey { kind, name, tags: b"", origin: b"" };
            let hash = table.hash(&raw);
            table.alias(hash, &raw).expect("it lives").epoch = oldest;
            table.entry(number).see(oldest);
        }
        table.start_sweep(oldest);
        while table.sweep_step() {}
    };
    forget(&mut table, 12);
    assert_eq!((table.len(), table.aliases(), table.entries.len()), (50, 50, 49_001));
    assert!(table.entries.capacity() < 2 * 49_001 + 20_000, "{}", table.entries.capacity());
    for number in (0..50_000).step_by(1_000) {
        let known = resolve(&mut table, MetricType::Counter, &name(number), "");
        assert_eq!(known, Decision::Context(number));
    }
    let next = resolve(&mut table, MetricType::Counter, "next", "");
    assert_eq!(next, Decision::Context(1), "the lowest");
    forget(&mut table, 13);
    assert_eq!(table.len(), 50);
    table.start_sweep(14);
    while table.sweep_step() {}
    assert_eq!((table.len(), table.entries.len(), table.free.len()), (0, 0, 0));
    assert!(table.entries.capacity() < 20_000, "{}", table.entries.capacity());
}

#[test]
fn new_rules_decide_known_keys_again() {
    let mut table = table(ContextLimits::default());
    let plain = resolve(&mut table, MetricType::Counter, "n", "");
    let namespace = super::super::namespace::Namespace::new("ns", &[]);
    table.set_rules(Arc::new(Rules { namespace, ..Rules::default() }));
    let Decision::Context(id) = resolve(&mut table, MetricType::Counter, "n", "") else { panic!() };
    assert_ne!(Decision::Context(id), plain);
    assert_eq!(table.context(id).unwrap().name(), b"ns.n");
}

/// Gives every container the tags that it holds now.
#[derive(Debug, Default)]
struct Changing(std::sync::Mutex<Vec<(&'static str, &'static str)>>);

impl Tagger for Changing {
    fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
        let Identity::Container(id) = identity else { return None };
        let mut tags = WorkloadBuilder::default();
        let known = self.0.lock().unwrap();
        for (_, pod) in known.iter().filter(|(known, _)| known.as_bytes() == id) {
            tags.add(Cardinality::Low, "pod", pod);
        }
        Some(Arc::new(tags.build()).up_to(cardinality))
    }

    fn generation(&self) -> u64 {
        0
    }
}

#[test]
fn late_tags_make_a_new_context_only_where_tags_changed() {
    let tagger = Arc::new(Changing::default());
    let origin = OriginRules {
        tagger: Arc::clone(&tagger) as Arc<dyn Tagger>,
        cardinality: Cardinality::Low,
        optout: true,
        entity_id_precedence: false,
        unified: false,
    };
    let rules = Rules { origin: Some(origin), ..Rules::default() };
    let mut table = Contexts::new(Arc::new(rules), RandomState::with_seeds(1, 2, 3, 4));
    let of = |table: &mut Contexts, sender: &str| {
        let origin = sender.as_bytes();
        let raw = RawKey { kind: MetricType::Counter, name: b"n", tags: b"a", origin };
        let hash = table.hash(&raw);
        match table.alias(hash, &raw) {
            Some(alias) => Decision::from_number(alias.decision),
            None => table.resolve(hash, &raw, 10),
        }
    };
    // No sender's tags are known: all senders are one context.
    let untagged = of(&mut table, "");
    assert_eq!((of(&mut table, "c1"), of(&mut table, "c2")), (untagged, untagged));
    assert_eq!((table.len(), table.aliases()), (1, 3));
    tagger.0.lock().unwrap().push(("c1", "p1"));
    assert_eq!(of(&mut table, "c1"), untagged, "as it was until it is decided again");
    table.decide_again();
    let tagged = of(&mut table, "c1");
    assert_eq!((of(&mut table, ""), of(&mut table, "c2")), (untagged, untagged));
    assert_eq!((table.len(), table.aliases()), (2, 3));
    let Decision::Context(id) = tagged else { panic!("{tagged:?}") };
    let tags: Vec<_> = table.context(id).unwrap().tags(&[]).iter().collect();
    assert_eq!(tags, [&b"a"[..], b"pod:p1"]);
}
