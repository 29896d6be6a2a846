//! What rules change in posting: profiles, filters, reloads.

use super::*;
use crate::config::{self, MapperProfile, TagAction, TagFilter};
use crate::context::{Mapper, NameFilter, TagFilters};

fn profile(prefix: &str) -> MapperProfile {
    MapperProfile {
        name: "test".into(),
        prefix: prefix.into(),
        mappings: Vec::new(),
        histogram_aggregates: None,
        histogram_percentiles: None,
        gauge_ttl: None,
        counters_as_counts: false,
    }
}

fn mapper(profiles: &[MapperProfile]) -> Mapper {
    let (mapper, problems) = Mapper::new(profiles);
    assert_eq!(problems, []);
    mapper
}

fn with_profiles(profiles: &[MapperProfile]) -> Rules {
    Rules { mapper: mapper(profiles), ..Rules::default() }
}

fn with_filter(names: &[&str], prefixes: bool) -> Rules {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Rules { name_filter: NameFilter::new(&names, prefixes), ..Rules::default() }
}

impl House {
    /// A reload, as the server does it: the flusher first.
    pub(super) fn reload(&mut self, rules: Rules) {
        let rules = Arc::new(rules);
        self.flusher.set_rules(Arc::clone(&rules), HistogramSettings::default());
        self.shards.iter_mut().for_each(|shard| shard.set_rules(Arc::clone(&rules)));
    }
}

#[track_caller]
fn posts_under(rules: Rules, lines: &[&str], expect: &[&str]) {
    let mut house = House::plain(1000);
    house.reload(rules);
    house.send(0, lines);
    let posted: Vec<String> =
        house.at(1010).into_iter().map(|line| line.replace("1000 ", "")).collect();
    assert_eq!(posted, expect);
}

const REQ: [&str; 4] =
    ["req.95percentile gauge 1", "req.count rate 0.1", "req.max gauge 1", "req.median gauge 1"];

#[test]
fn a_filtered_aggregate_leaves_the_others() {
    posts_under(with_filter(&["req.avg"], false), &["req:1|h"], &REQ);
    posts_under(with_filter(&["req.avg"], true), &["req:1|h"], &REQ);
    posts_under(with_filter(&["req.avg"], false), &["req.avg:1|g", "req:1|d"], &["req sketch 1 1"]);
    posts_under(with_filter(&["req.a"], true), &["x:1|g"], &["x gauge 1"]);
    let all = ["req.avg", "req.95percentile", "req.count", "req.max", "req.median"];
    posts_under(with_filter(&all, false), &["req:1|h"], &[]);
    // The prefix ends in no suffix, so it names no aggregate.
    let expect = [
        "req.95percentile gauge 1 millisecond #a",
        "req.avg gauge 1 millisecond #a",
        "req.count rate 0.1 #a",
        "req.max gauge 1 millisecond #a",
        "req.median gauge 1 millisecond #a",
    ];
    posts_under(with_filter(&["req.a"], true), &["req:1|ms|#a"], &expect);
    // A suffix that a profile alone configures counts, too.
    let own = MapperProfile {
        histogram_aggregates: Some(vec![config::Aggregate::Min, config::Aggregate::Sum]),
        histogram_percentiles: Some(vec![]),
        ..profile("req")
    };
    let rules = Rules { mapper: mapper(&[own]), ..with_filter(&["req.min"], false) };
    posts_under(rules, &["req:1|h"], &["req.sum gauge 1"]);
}

#[test]
fn a_profile_has_aggregates_and_percentiles_of_its_own() {
    let special = MapperProfile {
        histogram_aggregates: Some(vec![config::Aggregate::Min]),
        histogram_percentiles: Some(vec![0.99, 0.5, 0.99]),
        ..profile("a.")
    };
    let half = MapperProfile { histogram_percentiles: Some(vec![]), ..profile("b.") };
    let expect = [
        "a.x.50percentile gauge 1",
        "a.x.99percentile gauge 1",
        "a.x.min gauge 1",
        "b.x.avg gauge 1",
        "b.x.count rate 0.1",
        "b.x.max gauge 1",
        "b.x.median gauge 1",
        "c.95percentile gauge 1",
        "c.avg gauge 1",
        "c.count rate 0.1",
        "c.max gauge 1",
        "c.median gauge 1",
    ];
    posts_under(with_profiles(&[special, half]), &["a.x:1|h", "b.x:1|h", "c:1|h"], &expect);
}

#[test]
fn settings_follow_the_raw_name_through_mapper_and_namespace() {
    let away = config::Mapping {
        pattern: "a.*".into(),
        match_type: config::MatchType::Wildcard,
        name: "elsewhere".into(),
        tags: vec![("part".into(), "$1".into())],
    };
    let counts = MapperProfile { counters_as_counts: true, mappings: vec![away], ..profile("a.") };
    let namespace = crate::context::Namespace::new("ns", &[]);
    let rules = Rules { namespace, ..with_profiles(&[counts]) };
    let expect = ["ns.a.b.c count 1", "ns.elsewhere count 2 #part:x", "ns.elsewhere rate 0.1"];
    posts_under(rules, &["a.x:2|c", "a.b.c:1|c", "elsewhere:1|c"], &expect);
}

#[test]
fn counters_of_a_profile_are_counts() {
    let counts = MapperProfile { counters_as_counts: true, ..profile("a.") };
    let mut house = House::plain(1000);
    house.reload(with_profiles(&[counts]));
    house.send(0, &["a.x:5|c", "a.x:7|c|T900", "b:5|c", "a.g:5|g"]);
    let expect = ["1000 a.g gauge 5", "1000 a.x count 5", "1000 b rate 0.5", "900 a.x count 7"];
    assert_eq!(house.at(1010), expect);
    assert_eq!(house.at(1020), ["1010 a.x count 0", "1010 b rate 0"]);
}

#[test]
fn a_gauge_is_posted_again_for_its_time() {
    let ttl = MapperProfile { gauge_ttl: Some(Duration::from_secs(60)), ..profile("a.") };
    let mut house = House::plain(1000);
    house.reload(with_profiles(&[ttl]));
    house.send(0, &["a.x:5|g", "b:5|g", "a.s:1|s"]);
    assert_eq!(house.at(1010), ["1000 a.s gauge 1", "1000 a.x gauge 5", "1000 b gauge 5"]);
    house.send(0, &["a.x:6|g"]);
    assert_eq!(house.at(1020), ["1010 a.x gauge 6"]);
    for start in (1020..1070).step_by(10) {
        assert_eq!(house.at(start + 10), [format!("{start} a.x gauge 6")]);
    }
    assert_eq!(house.at(1080), [""; 0]);
    assert_eq!(house.flusher.contexts(), 0, "no context is kept without need");
    house.send(0, &["a.x:7|g"]);
    assert_eq!(house.at(1090), ["1080 a.x gauge 7"]);
    assert_eq!(house.stop(1095), [""; 0], "the partial bucket repeats nothing");
}

#[test]
fn a_held_gauge_outlives_counters_but_fills_no_jump_of_the_clock() {
    let ttl = MapperProfile { gauge_ttl: Some(Duration::from_secs(10_000)), ..profile("a") };
    let mut house = House::plain(1000);
    house.reload(with_profiles(&[ttl]));
    house.send(0, &["a:5|g"]);
    assert_eq!(house.at(5000).len(), 30, "as many as of a counter");
    assert_eq!(house.at(5010), ["5000 a gauge 5"]);
    assert_eq!(house.at(20_000), ["5010 a gauge 5"], "the bucket that was open");
    assert_eq!(house.at(20_010), [""; 0]);
}

#[test]
fn a_held_gauge_yields_to_a_value_and_a_zero_yields_to_it() {
    let ttl = MapperProfile { gauge_ttl: Some(Duration::from_secs(600)), ..profile("x") };
    let mut house = House::plain(1000);
    house.reload(with_profiles(&[ttl]));
    house.send(0, &["x:5|g"]);
    house.at(1010);
    house.send(0, &["x:1|c"]);
    assert_eq!(house.at(1020), ["1010 x rate 0.1"]);
    assert_eq!(house.at(1030), ["1020 x gauge 5"]);
}

#[test]
fn a_gauge_is_held_although_another_lane_meets_it_later() {
    let ttl = MapperProfile { gauge_ttl: Some(Duration::from_secs(60)), ..profile("a") };
    let mut house = House::new(2, &aggregate::ShardSettings::default(), 1000);
    house.reload(with_profiles(&[ttl]));
    house.send(0, &["a:5|g"]);
    assert_eq!(house.at(1010), ["1000 a gauge 5"]);
    house.send(1, &["a:2|g|T900"]);
    assert_eq!(house.at(1020), ["1010 a gauge 5", "900 a gauge 2"]);
}

#[test]
fn tags_are_filtered_before_the_identity_for_every_kind() {
    let filter = |name: &str| TagFilter {
        metric_name: name.into(),
        action: TagAction::Exclude,
        tags: vec!["id".into(), "team".into()],
    };
    let rules = Rules {
        tag_filters: TagFilters::new(&["x", "g", "s", "h", "d"].map(filter)),
        common_tags: vec![Box::from(&b"team:web"[..]), Box::from(&b"dc:1"[..])],
        ..Rules::default()
    };
    let mut lines = vec!["x:1|c|#id:1,env:p", "x:1|c|#id:2,env:p", "other:1|c|#id:1,env:p"];
    lines.extend(["g:1|g|#id:1", "g:2|g|#id:2", "s:a|s|#id:1", "s:b|s|#id:2"]);
    lines.extend(["h:1|h|#id:1", "h:2|h|#id:2", "d:1|d|#id:1", "d:2|d|#id:2"]);
    let expect = [
        "d sketch 2 3 #dc:1",
        "g gauge 2 #dc:1",
        "h.95percentile gauge 2 #dc:1",
        "h.avg gauge 1.5 #dc:1",
        "h.count rate 0.2 #dc:1",
        "h.max gauge 2 #dc:1",
        "h.median gauge 1 #dc:1",
        "other rate 0.1 #dc:1,env:p,id:1,team:web",
        "s gauge 2 #dc:1",
        "x rate 0.2 #dc:1,env:p",
    ];
    posts_under(rules, &lines, &expect);
}

#[test]
fn filtered_lines_are_counted_and_remembered() {
    let mut house = House::plain(1000);
    house.reload(with_filter(&["a.b"], false));
    house.send(0, &["a.b:1|c", "a.b:1|c", "a.b:1|g|T5", "a.bc:1|c"]);
    assert_eq!(house.shards[0].contexts().len(), 1);
    assert_eq!(house.shards[0].contexts().aliases(), 3);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(flush.counts.reasons().collect::<Vec<_>>(), [("filtered", 3)]);
    assert_eq!(house.print(&flush), ["1000 a.bc rate 0.1"]);
}

#[test]
fn a_reload_takes_effect_on_known_metrics() {
    let lines = ["a:1|c", "h:1|h", "g:1|g"];
    let mut house = House::plain(1000);
    house.send(0, &lines);
    assert_eq!(house.at(1010).len(), 7);

    // Names, aggregates and posting overrides.
    let counts = MapperProfile { counters_as_counts: true, ..profile("a") };
    let filter = with_filter(&["g", "h.avg", "h.count"], false);
    house.reload(Rules { mapper: mapper(&[counts]), ..filter });
    house.send(0, &lines);
    let expect = [
        "1010 a count 1",
        "1010 h.95percentile gauge 1",
        "1010 h.max gauge 1",
        "1010 h.median gauge 1",
    ];
    assert_eq!(house.at(1020), expect);

    // The aggregates return, and the counter goes: not even its zeros go on.
    house.reload(with_filter(&["a"], false));
    house.send(0, &lines);
    assert_eq!(house.at(1030).len(), 6);
    house.reload(Rules::default());
    assert_eq!(house.at(1040), [""; 0]);
    house.send(0, &lines);
    assert_eq!(house.at(1050).len(), 7);
}

#[test]
fn what_was_recorded_before_a_filter_is_posted_and_then_ends() {
    let mut house = House::plain(1000);
    house.send(0, &["a:1|c"]);
    house.reload(with_filter(&["a"], false));
    house.send(0, &["a:1|c"]);
    assert_eq!(house.at(1010), ["1000 a rate 0.1"]);
    assert_eq!(house.at(1020), [""; 0]);
}

#[test]
fn settings_that_change_with_every_line_are_passed_on_once() {
    let to_x = ["a", "b"].map(|name| config::Mapping {
        pattern: name.into(),
        match_type: config::MatchType::Wildcard,
        name: "x".into(),
        tags: Vec::new(),
    });
    let plain = MapperProfile { mappings: to_x.to_vec(), ..profile("a") };
    let counts =
        MapperProfile { counters_as_counts: true, mappings: to_x.to_vec(), ..profile("b") };
    let mut rules = with_profiles(&[plain, counts]);
    // No alias stays, so that every line is a first sight.
    rules.limits.alias_bytes_max = 0;
    let now = Duration::from_secs(1000);
    let mut shard = Shard::new(aggregate::ShardSettings::default(), Arc::new(rules), state(), now);
    for _ in 0..1_000 {
        shard.line(b"a:1|c", b"");
        shard.line(b"b:1|c", b"");
    }
    let bucket = shard.close(now + Duration::from_secs(10), Bucket::default());
    assert_eq!(bucket.births.len(), 2, "the birth, then its settings");
    assert!(bucket.births[1].settings.as_ref().is_some_and(|known| known.counters_as_counts));
}

#[test]
fn an_aggregate_and_a_metric_of_its_name_are_settled_like_two_kinds() {
    fn with(max: &str) -> Vec<&str> {
        let (before, after) = ("h.95percentile gauge 2", "h.median gauge 2");
        vec![before, "h.avg gauge 2", "h.count rate 0.1", max, after]
    }
    posts(&["h:2|h", "h.max:9|g"], &with("h.max gauge 9"));
    posts(&["h.max:9|g", "h:2|h"], &with("h.max gauge 2"));
    posts(&["h:2|h", "h.max:10|c"], &with("h.max rate 1"));

    let mut house = House::plain(1000);
    house.send(0, &["h:2|h|#a,b", "h.max:9|g|#b,a", "h.max:1|g", "h.min:1|g|#a,b"]);
    house.close(0, 1010);
    let flush = house.flusher.complete().unwrap();
    assert_eq!(flush.type_conflicts, 1);
    assert_eq!(flush.conflict_example.as_ref().unwrap().name(), b"h");
    let posted = house.print(&flush);
    let max: Vec<&String> = posted.iter().filter(|line| line.contains("h.max")).collect();
    assert_eq!(max, ["1000 h.max gauge 1", "1000 h.max gauge 9 #a,b"]);
}

#[test]
fn a_zero_never_displaces_an_aggregate() {
    let mut house = House::plain(1000);
    house.send(0, &["h.count:5|c"]);
    assert_eq!(house.at(1010), ["1000 h.count rate 0.5"]);
    house.send(0, &["h:2|h"]);
    let counts: Vec<String> =
        house.at(1020).into_iter().filter(|line| line.contains("h.count")).collect();
    assert_eq!(counts, ["1010 h.count rate 0.1"]);
    assert_eq!(house.at(1030), ["1020 h.count rate 0"]);
}

fn common(tags: &[&str]) -> Rules {
    let common_tags = tags.iter().map(|tag| Box::from(tag.as_bytes())).collect();
    Rules { common_tags, ..Rules::default() }
}

#[test]
fn a_tag_that_becomes_common_unites_the_series_that_had_it() {
    let mut house = House::plain(1000);
    house.send(0, &["n:10|c|#env:a", "n:20|c", "d:1|d|#env:a", "d:2|d"]);
    house.reload(common(&["env:a"]));
    // One bucket holds cells of before and after the reload.
    house.send(0, &["n:30|c|#env:a", "n:40|c", "m:10|c|#env:a,x"]);
    assert_eq!(
        house.at(1010),
        ["1000 d sketch 2 3 #env:a", "1000 m rate 1 #env:a,x", "1000 n rate 10 #env:a"]
    );
    house.send(0, &["n:50|c"]);
    assert_eq!(house.at(1020), ["1010 m rate 0 #env:a,x", "1010 n rate 5 #env:a"]);
    // Nothing is left that could post a zero in its place.
    assert_eq!(house.at(1030), ["1020 m rate 0 #env:a,x", "1020 n rate 0 #env:a"]);
    assert_eq!(house.flusher.contexts_by_kind().iter().sum::<usize>(), 3);
}

#[test]
fn series_that_are_united_go_on_where_they_were() {
    let mut house = House::plain(1000);
    house.send(0, &["a:10|c|#env:a", "b:10|c|#env:a", "b:10|c|#env:b", "c:10|c|#env:b"]);
    house.at(1010);
    house.reload(common(&["env:a", "env:b"]));
    let posted = |at: u64, values: [u64; 3]| {
        let line = |(name, value)| format!("{at} {name} rate {value} #env:a,env:b");
        ["a", "b", "c"].into_iter().zip(values).map(line).collect::<Vec<_>>()
    };
    assert_eq!(house.at(1020), posted(1010, [0, 0, 0]));
    house.send(0, &["b:10|c|#env:b"]);
    assert_eq!(house.at(1030), posted(1020, [0, 1, 0]));
}
