//! Series that owners post: what leaves for them, and that nothing of it is posted here.

use super::*;
use crate::config::{self, MapperProfile};
use crate::context::{Mapper, NameFilter, ScopeRules};
use crate::flush::handover::HandOver;
use crate::part::{self, Value};

fn words(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// Global are `g.…`; `pod` is dropped; every point has the tags `env:x` and `pod:p`, and the host `here`.
fn rules() -> Rules {
    let common_tags = ["env:x", "pod:p"].map(|tag| Box::from(tag.as_bytes())).to_vec();
    Rules {
        scope: Some(ScopeRules::new(&words("g.*"), &words("pod"), &common_tags)),
        common_tags,
        default_host: Box::from(&b"here"[..]),
        ..Rules::default()
    }
}

fn house(lanes: usize, rules: Rules) -> House {
    let mut house = House::new(lanes, &aggregate::ShardSettings::default(), 1000);
    house.reload(rules);
    house
}

/// `name kind value @milliseconds #tags style`, sorted.
fn global_of(house: &House, flush: &Flush) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut cells = Vec::new();
    house.flusher.view(flush).global_cells(&mut |cell| {
        let mut tags: Vec<String> = cell.tags.iter().map(text).collect();
        tags.sort();
        let value = match &cell.value {
            Value::Counter(sum) => sum.value().to_string(),
            Value::Gauge(value) => value.to_string(),
            Value::Set(set) => set.count().to_string(),
            Value::Histogram(histogram) => {
                let summary = histogram.summary();
                format!("{}/{}", summary.sum, summary.count)
            }
        };
        assert_eq!(cell.kind, cell.value.kind());
        let mut style = String::new();
        if !cell.style.is_default() {
            let part::Style { aggregates, percentiles, as_count, unit } = cell.style;
            style = format!(" {aggregates:?} {percentiles:?} {as_count} {unit}");
        }
        let (name, kind) = (text(cell.name), cell.kind.word());
        cells.push(format!("{name} {kind} {value} @{} #{}{style}", cell.stamp, tags.join(",")));
    });
    assert!(cells.len() <= flush.global_count());
    cells.sort();
    cells
}

/// One interval of one lane: what is posted here, and what leaves for owners.
fn one_interval(rules: Rules, lines: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut house = house(1, rules);
    house.send(0, lines);
    house.close(0, 1010);
    let flush = house.flusher.complete().expect("its only lane has passed it");
    let posted = house.print(&flush).into_iter().map(|line| line.replace("1000 ", ""));
    (posted.collect(), global_of(&house, &flush))
}

#[track_caller]
fn leaves(lines: &[&str], expect: &[&str]) {
    let (posted, global) = one_interval(rules(), lines);
    assert_eq!(posted, [""; 0], "nothing of it is posted here");
    assert_eq!(global, expect);
}

#[test]
fn every_kind_but_distributions_leaves_without_what_tells_hosts_apart() {
    leaves(
        &["g.c:2|c|@0.5|#a,pod:1,host:h,device:d", "g.c:1|c|#pod:2,a"],
        &["g.c counter 5 @0 #a,env:x"],
    );
    leaves(&["g.g:2|g", "g.g:7|g|#host:h"], &["g.g gauge 7 @0 #env:x"]);
    leaves(&["g.s:a|s", "g.s:b|s|#pod", "g.s:a|s"], &["g.s set 2 @0 #env:x"]);
    leaves(&["g.h:1:2|h", "g.h:3|h|@0.5"], &["g.h histogram 9/4 @0 #env:x"]);
    leaves(&["g.t:1:2|ms"], &["g.t histogram 3/2 @0 #env:x [] [] false millisecond"]);
    leaves(&["n:1|c|#veneurglobalonly,a"], &["n counter 1 @0 #a,env:x"]);
    leaves(&["n:1|c|#whippet_scope:global"], &["n counter 1 @0 #env:x"]);
}

#[test]
fn a_distribution_is_posted_here_without_a_host() {
    let mut house = house(1, rules());
    house.send(0, &["g.d:1|d|#a,pod:1,host:h", "g.d:2|d|#a", "d:3|d|#pod:1"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!((flush.global_count(), global_of(&house, &flush)), (0, vec![]));
    let mut rows = Vec::new();
    house.flusher.view(&flush).visit(&mut |row| {
        let host = String::from_utf8_lossy(row.host).into_owned();
        rows.extend(lines_of(row).into_iter().map(|line| format!("{line} host={host}")));
    });
    assert_eq!(
        rows,
        ["1000 g.d sketch 2 3 #a,env:x host=", "1000 d sketch 1 3 #env:x,pod:1,pod:p host=here",]
    );
}

#[test]
fn local_wins_over_rule_and_tag_and_their_tags_are_taken_off() {
    let lines = [
        "g.c:10|c|#veneurlocalonly,pod:1",
        "g.x:10|c|#whippet_scope:local,whippet_scope:global",
        "n:10|c|#a",
    ];
    let (posted, global) = one_interval(rules(), &lines);
    assert_eq!(
        posted,
        ["g.c rate 1 #env:x,pod:1,pod:p", "g.x rate 1 #env:x,pod:p", "n rate 1 #a,env:x,pod:p"]
    );
    assert_eq!(global, [""; 0]);
    // A server that does not send leaves the tags where they are.
    let lines = ["n:10|c|#veneurglobalonly", "m:10|c|#whippet_scope:local"];
    let (posted, _) = one_interval(Rules::default(), &lines);
    assert_eq!(posted, ["m rate 1 #whippet_scope:local", "n rate 1 #veneurglobalonly"]);
}

#[test]
fn a_series_may_be_global_and_local_at_once_without_a_conflict() {
    let mut house = house(1, rules());
    let lines = ["g.c:10|c|#veneurlocalonly", "g.c:4|c", "g.c:5|g", "g.c:x|s", "g.h:1|h"];
    house.send(0, &lines);
    house.send(0, &["g.h.max:7|g|#veneurlocalonly", "g.c:8|g|#veneurlocalonly"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(flush.type_conflicts, 1, "only among those that are posted here");
    assert_eq!(
        house.print(&flush),
        ["1000 g.c gauge 8 #env:x,pod:p", "1000 g.h.max gauge 7 #env:x,pod:p"]
    );
    assert_eq!(
        global_of(&house, &flush),
        [
            "g.c counter 4 @0 #env:x",
            "g.c gauge 5 @0 #env:x",
            "g.c set 1 @0 #env:x",
            "g.h histogram 1/1 @0 #env:x"
        ]
    );
}

#[test]
fn lanes_are_merged_first_and_the_last_write_has_its_time() {
    let mut house = house(2, rules());
    house.send(0, &["g.c:1|c", "g.g:1|g", "g.s:a|s", "g.h:1|h"]);
    house.now = 1003;
    house.send(1, &["g.c:2|c", "g.g:2|g", "g.s:b|s", "g.h:2|h"]);
    house.now = 1007;
    house.send(0, &["g.c:4|c"]);
    house.close(0, 1010);
    assert!(house.flusher.complete().is_none());
    house.close(1, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(
        global_of(&house, &flush),
        [
            "g.c counter 7 @7000 #env:x",
            "g.g gauge 2 @3000 #env:x",
            "g.h histogram 3/2 @3000 #env:x",
            "g.s set 2 @3000 #env:x"
        ]
    );
    let recycled: usize =
        house.flusher.recycle(flush).map(|(_, bucket)| bucket.counters.len()).sum();
    assert_eq!(recycled, 0);
}

#[test]
fn nothing_global_is_continued_held_or_handed_over() {
    let held = MapperProfile {
        name: "held".into(),
        prefix: "g.".into(),
        mappings: Vec::new(),
        histogram_aggregates: None,
        histogram_percentiles: None,
        gauge_ttl: Some(Duration::from_secs(60)),
        counters_as_counts: false,
    };
    let (mapper, _) = Mapper::new(&[held]);
    let mut house = house(1, Rules { mapper, ..rules() });
    house.flusher.take_over(HandOver::default());
    house.send(0, &["g.c:1|c", "g.g:1|g", "n:10|c"]);
    assert_eq!(house.at(1010), ["1000 n rate 1 #env:x,pod:p"]);
    assert_eq!(house.at(1020), ["1010 n rate 0 #env:x,pod:p"]);
    // The last bucket is partial: what is posted here has another second, what owners post has not.
    house.now = 1021;
    house.send(0, &["g.c:5|c", "n:20|c"]);
    let bucket = house.shards[0].close(Duration::from_secs(1024), Bucket::default());
    house.flusher.take(Closed { lane: 0, bucket, passed: 1020 });
    let flush = house.flusher.finish(1024).unwrap();
    assert_eq!((flush.start, flush.timestamp), (1020, 1024));
    assert_eq!(house.print(&flush), ["1024 n rate 2 #env:x,pod:p"]);
    assert_eq!(global_of(&house, &flush), ["g.c counter 5 @1000 #env:x"]);
    assert_eq!(house.flusher.handover().unwrap().len(), 1, "n alone");
}

#[test]
fn profiles_and_filters_of_aggregates_travel_as_styles() {
    let profile =
        |prefix: &str, aggregates: Option<&[config::Aggregate]>, as_count| MapperProfile {
            name: prefix.into(),
            prefix: prefix.into(),
            mappings: Vec::new(),
            histogram_aggregates: aggregates.map(<[_]>::to_vec),
            histogram_percentiles: aggregates.map(|_| vec![0.999, 0.5]),
            gauge_ttl: None,
            counters_as_counts: as_count,
        };
    let profiles = [
        profile("g.a", Some(&[config::Aggregate::Max, config::Aggregate::Sum]), false),
        profile("g.n", None, true),
        MapperProfile { histogram_percentiles: Some(vec![]), ..profile("g.z", Some(&[]), true) },
    ];
    let (mapper, _) = Mapper::new(&profiles);
    let filtered = words("g.af.sum g.f.max g.y.count");
    let name_filter = NameFilter::new(&filtered, false);
    let rules = Rules { mapper, name_filter, ..rules() };
    let lines = [
        "g.a:1|h",
        "g.at:1|ms",
        "g.ac:1|c",
        "g.af:1|h",
        "g.n:1|c",
        "g.nh:1|h",
        "g.z:1|h",
        "g.f:1|h",
    ];
    let (posted, global) = one_interval(rules, &lines);
    assert_eq!(posted, [""; 0]);
    assert_eq!(
        global,
        [
            "g.a histogram 1/1 @0 #env:x [\"max\", \"sum\"] [0.5, 0.999] false ",
            "g.ac counter 1 @0 #env:x",
            "g.af histogram 1/1 @0 #env:x [\"max\"] [0.5, 0.999] false ",
            "g.at histogram 1/1 @0 #env:x [\"max\", \"sum\"] [0.5, 0.999] false millisecond",
            "g.f histogram 1/1 @0 #env:x [\"median\", \"avg\", \"count\"] [0.95] false ",
            "g.n counter 1 @0 #env:x [] [] true ",
            "g.nh histogram 1/1 @0 #env:x",
        ],
        "nothing is posted of g.z"
    );
}

#[test]
fn a_time_of_its_own_keeps_a_point_local_and_is_counted() {
    let mut house = house(1, rules());
    let at = ["g.c:10|c|T5|#pod:1", "g.c:20|c|T6|#pod:1", "g.c:30|c|T7|#veneurlocalonly,pod:1"];
    house.send(0, &at);
    house.send(0, &["g.c:1|c|#pod:1", "n:10|c|T8", "g.g:1|g|T9|#host:h,device:d", "g.h:1|h|T5"]);
    house.send(0, &["g.c:2|c|#pod:1", "n:10|c|T9", "n:5|c|T9|#whippet_scope:global"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(flush.counts.timestamped_local, 4);
    assert_eq!(
        house.print(&flush),
        [
            "5 g.c rate 1 #env:x,pod:1,pod:p",
            "6 g.c rate 2 #env:x,pod:1,pod:p",
            "7 g.c rate 3 #env:x,pod:1,pod:p",
            "8 n rate 1 #env:x,pod:p",
            "9 g.g gauge 1 #device:d,env:x,pod:p",
            "9 n rate 0.5 #env:x,pod:p",
            "9 n rate 1 #env:x,pod:p",
        ]
    );
    assert_eq!(global_of(&house, &flush), ["g.c counter 3 @0 #env:x"]);
}

#[test]
fn what_would_break_the_key_of_owners_is_counted_and_goes_nowhere() {
    let mut house = house(1, rules());
    // A datagram ends a line there; what calls the library need not.
    house.send(0, &["g.two\nlines:1|c", "g.tag:1|g|#b\nc", "g.tag:1|h|#b\nc", "g.ok:1|c"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(house.print(&flush), [""; 0]);
    assert_eq!(global_of(&house, &flush), ["g.ok counter 1 @0 #env:x"]);
    assert_eq!(flush.counts.cells_unsendable, 3);
}

#[test]
fn what_folds_past_a_cap_stays_global() {
    let limits = ContextLimits { contexts_max: 1, ..ContextLimits::default() };
    let (posted, global) =
        one_interval(Rules { limits, ..rules() }, &["g.c:1|c|#a", "g.c:2|c|#b", "g.c:3|c|#c"]);
    assert_eq!(posted, [""; 0]);
    assert_eq!(
        global,
        ["g.c counter 1 @0 #a,env:x", "g.c counter 5 @0 #env:x,whippet.overflow:true"]
    );
}

#[test]
fn a_copy_of_a_global_histogram_has_no_host_either() {
    let settings = aggregate::ShardSettings {
        histogram_copy: Some(Box::from(&b"copy."[..])),
        ..aggregate::ShardSettings::default()
    };
    let mut house = House::new(1, &settings, 1000);
    house.reload(rules());
    house.send(0, &["g.h:1|h|#pod:1"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    house.flusher.view(&flush).visit(&mut |row| {
        assert_eq!(row.host, b"");
        assert_eq!(lines_of(row), ["1000 copy.g.h sketch 1 1 #env:x"]);
    });
    assert_eq!(global_of(&house, &flush).len(), 1);
}

#[test]
fn a_reload_moves_series_between_here_and_their_owner() {
    let mut house = house(1, rules());
    house.send(0, &["g.c:10|c", "n:10|c"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(house.print(&flush), ["1000 n rate 1 #env:x,pod:p"]);
    let mut other = rules();
    other.scope = Some(ScopeRules::new(&words("n"), &words("env"), &other.common_tags));
    house.reload(other);
    house.now = 1010;
    house.send(0, &["g.c:10|c", "n:10|c"]);
    house.close(0, 1020);
    let flush = house.flusher.complete().unwrap();
    // n was a counter of this server, which is continued until its time is over.
    assert_eq!(house.print(&flush), ["1010 g.c rate 1 #env:x,pod:p", "1010 n rate 0 #env:x,pod:p"]);
    assert_eq!(global_of(&house, &flush), ["n counter 10 @0 #pod:p"]);
}

proptest::proptest! {
    /// Whatever lines come: each lands either here or at its owner, and what is left of a global one has
    /// nothing that tells hosts apart.
    #[test]
    fn no_series_is_posted_twice_and_none_is_lost(
        lines in proptest::collection::vec((0_usize..4, 0_usize..8, 0_usize..4), 1..40)
    ) {
        let names = ["g.a", "n", "g.b", "m"];
        let tags = ["", "pod:1", "host:h,a", "veneurlocalonly", "veneurglobalonly,b", "device:d",
            "whippet_scope:local,pod:2", "whippet_scope:global,veneurlocalonly"];
        let kinds = ["c", "g", "s", "h"];
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, tag, kind)| format!("{}{}:1|{}|#{}", names[*name], kinds[*kind], kinds[*kind], tags[*tag]))
            .collect();
        let mut house = house(1, rules());
        house.send(0, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        house.close(0, 1010);
        let flush = house.flusher.complete().unwrap();
        let mut series = std::collections::BTreeSet::new();
        house.flusher.view(&flush).visit(&mut |row| {
            let tags: Vec<_> = row.tags.iter().map(<[u8]>::to_vec).collect();
            assert!(series.insert((row.name.to_vec(), tags, row.host.to_vec(), false)));
        });
        house.flusher.view(&flush).global_cells(&mut |cell| {
            let tags: Vec<_> = cell.tags.iter().map(<[u8]>::to_vec).collect();
            assert!(!tags.iter().any(|tag| tag.starts_with(b"pod") || tag.starts_with(b"device")));
            assert!(series.insert((cell.name.to_vec(), tags, Vec::new(), true)));
        });
        let expect: std::collections::BTreeSet<(String, bool)> = lines
            .iter()
            .map(|line| {
                let local = line.contains("local") || !(line.starts_with("g.") || line.contains("global"));
                (line.split(':').next().unwrap().to_owned(), !local)
            })
            .collect();
        let got = series.into_iter().map(|(name, _, _, global)| (String::from_utf8(name).unwrap(), global));
        proptest::prop_assert_eq!(got.collect::<std::collections::BTreeSet<_>>(), expect);
    }
}
