//! What two configurations post of the same traffic, compared.
//!
//! Series are compared by what they are (name, tags, host) and then by what they hold. Of those that
//! only one side has, two with the same values are one that was renamed or got other tags; and
//! several of one name whose tags contain those of a new one were merged into it, or the reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::changes::{Change, Difference, Identity};
use super::posted::Posted;
use crate::encode::Route;

/// More pairs than this are not weighed against each other, but taken in order.
const WEIGHED_MAX: usize = 1 << 20;

/// What a series holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    pub route: Route,
    pub kind: String,
    /// By second. Of series and sketches the intake keeps the last one; of events and checks all.
    pub points: BTreeMap<i64, Vec<Value>>,
}

/// Everything that one side posts.
#[derive(Clone, Debug, Default)]
pub(super) struct Side(BTreeMap<Identity, Values>);

impl Side {
    /// Adds what was posted, in order of time.
    pub fn add(&mut self, posted: &Posted) {
        let (what, overwrites) = match posted.route {
            Route::SeriesV1 | Route::SeriesV2 => ("series", true),
            Route::Sketches => ("sketch", true),
            Route::Events => ("event", false),
            Route::ServiceChecks => ("check", false),
        };
        let identity = Identity {
            name: posted.name().to_owned(),
            tags: posted.tags(),
            host: posted.host(),
            what,
        };
        let values = self.0.entry(identity).or_insert_with(|| Values {
            route: posted.route,
            kind: String::new(),
            points: BTreeMap::new(),
        });
        values.kind = posted.kind();
        for (second, value) in posted.points() {
            let held = values.points.entry(second).or_default();
            if overwrites {
                held.clear();
            }
            held.push(value);
        }
    }

    pub fn series(&self) -> usize {
        self.0.len()
    }

    pub fn points(&self) -> usize {
        self.0.values().flat_map(|values| values.points.values()).map(Vec::len).sum()
    }
}

type One<'a> = (&'a Identity, &'a Values);

/// Every difference, sorted by name.
pub(super) fn differences(before: &Side, after: &Side) -> Vec<Difference> {
    let only = |of: &'_ Side, not: &Side| -> Vec<Identity> {
        of.0.keys().filter(|identity| !not.0.contains_key(identity)).cloned().collect()
    };
    let mut all: Vec<Difference> = before
        .0
        .iter()
        .filter_map(|(identity, values)| changed(identity, values, after.0.get(identity)?))
        .collect();
    let (gone, new) = (only(before, after), only(after, before));
    let mut gone: Vec<One<'_>> = gone.iter().map(|one| (one, &before.0[one])).collect();
    let mut new: Vec<One<'_>> = new.iter().map(|one| (one, &after.0[one])).collect();
    pair(&mut gone, &mut new, &mut all);
    regroup(&mut new, &mut gone, &mut all, |one, many| Change::Merged { from: many, to: one });
    regroup(&mut gone, &mut new, &mut all, |one, many| Change::Split { from: one, to: many });
    let alone = |change: fn(Identity) -> Change| {
        move |(identity, values): One<'_>| Difference {
            kind: values.kind.clone(),
            change: change(identity.clone()),
        }
    };
    all.extend(gone.into_iter().map(alone(Change::Vanishes)));
    all.extend(new.into_iter().map(alone(Change::Appears)));
    all.sort_by_cached_key(|difference| difference.json().to_string());
    all.sort_by_cached_key(|difference| difference.name().to_owned());
    all
}

/// A series of both sides, if it differs.
fn changed(identity: &Identity, before: &Values, after: &Values) -> Option<Difference> {
    let series = identity.clone();
    let kind = after.kind.clone();
    if before.kind != after.kind {
        let change = Change::Kind { series, before: before.kind.clone() };
        return Some(Difference { kind, change });
    }
    let seconds: BTreeSet<i64> = before.points.keys().chain(after.points.keys()).copied().collect();
    let points = seconds.len();
    let value = |side: &Values, second: i64| side.points.get(&second).cloned();
    let mut differing =
        seconds.into_iter().filter(|second| value(before, *second) != value(after, *second));
    let first = differing.next()?;
    let last = |side: &Values| side.points.get(&first).and_then(|values| values.last()).cloned();
    let change = Change::Value {
        series,
        route: after.route,
        points,
        differing: 1 + differing.count(),
        first,
        before: last(before),
        after: last(after),
    };
    Some(Difference { kind, change })
}

/// Takes out those that hold the same under another identity.
fn pair<'a>(gone: &mut Vec<One<'a>>, new: &mut Vec<One<'a>>, all: &mut Vec<Difference>) {
    let mut groups: BTreeMap<u64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (at, one) in gone.iter().enumerate() {
        groups.entry(fingerprint(one)).or_default().0.push(at);
    }
    for (at, one) in new.iter().enumerate() {
        groups.entry(fingerprint(one)).or_default().1.push(at);
    }
    let (mut gone_paired, mut new_paired) = (BTreeSet::new(), BTreeSet::new());
    for (lefts, mut rights) in groups.into_values() {
        let weighed = lefts.len() * rights.len() <= WEIGHED_MAX;
        // Where as many came as went, each has its partner, even if nothing but the values is alike.
        let certain = lefts.len() == rights.len();
        for left in lefts {
            let candidates = rights.iter().enumerate().take(if weighed { usize::MAX } else { 1 });
            let best = candidates
                .map(|(place, right)| (likeness(gone[left].0, new[*right].0), place))
                .max_by_key(|(likeness, place)| (*likeness, std::cmp::Reverse(*place)));
            let Some((likeness, place)) = best else { break };
            let right = rights[place];
            let same = gone[left].1.points == new[right].1.points;
            if !same || !(certain || likeness.is_kin()) {
                continue;
            }
            rights.remove(place);
            let (from, to) = (gone[left].0.clone(), new[right].0.clone());
            let kind = gone[left].1.kind.clone();
            let change = if from.name != to.name {
                Change::Renamed { from, to }
            } else if from.tags != to.tags {
                Change::Tags { from, to }
            } else {
                Change::Host { from, to }
            };
            all.push(Difference { kind, change });
            gone_paired.insert(left);
            new_paired.insert(right);
        }
    }
    remove(gone, &gone_paired);
    remove(new, &new_paired);
}

/// How much two identities have in common, most important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    same_name: bool,
    same_tags: bool,
    same_host: bool,
    /// Bytes that the names begin and end with in common.
    name_bytes: usize,
    tags: usize,
}

impl Likeness {
    /// One of both is the same: no accident.
    fn is_kin(self) -> bool {
        self.same_name || self.same_tags
    }
}

fn likeness(left: &Identity, right: &Identity) -> Likeness {
    let common = |a: &mut dyn Iterator<Item = u8>, b: &mut dyn Iterator<Item = u8>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let begin = common(&mut left.name.bytes(), &mut right.name.bytes());
    let end = common(&mut left.name.bytes().rev(), &mut right.name.bytes().rev());
    Likeness {
        same_name: left.name == right.name,
        same_tags: left.tags == right.tags,
        same_host: left.host == right.host,
        name_bytes: begin + end,
        tags: left.tags.iter().filter(|tag| right.tags.binary_search(tag).is_ok()).count(),
    }
}

fn fingerprint((identity, values): &One<'_>) -> u64 {
    // Keyed by nothing: only what goes into one result is compared.
    let mut hasher = DefaultHasher::new();
    (identity.what, &values.kind).hash(&mut hasher);
    for (second, held) in &values.points {
        second.hash(&mut hasher);
        held.iter().for_each(|value| value.to_string().hash(&mut hasher));
    }
    hasher.finish()
}

/// Takes out each of `ones` with all of `many` that have its name and host and more tags.
fn regroup<'a>(
    ones: &mut Vec<One<'a>>,
    many: &mut Vec<One<'a>>,
    all: &mut Vec<Difference>,
    change: impl Fn(Identity, Vec<Identity>) -> Change,
) {
    let (mut ones_taken, mut many_taken) = (BTreeSet::new(), BTreeSet::new());
    let mut by_name: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    for (at, (identity, _)) in many.iter().enumerate() {
        let key = (identity.what, identity.name.as_str(), identity.host.as_str());
        by_name.entry(key).or_default().push(at);
    }
    for (at, (one, values)) in ones.iter().enumerate() {
        let key = (one.what, one.name.as_str(), one.host.as_str());
        let same_name = by_name.get(&key).into_iter().flatten();
        let within: Vec<usize> = same_name
            .filter(|other| !many_taken.contains(*other))
            .filter(|other| {
                let tags = &many[**other].0.tags;
                one.tags.iter().all(|tag| tags.binary_search(tag).is_ok())
            })
            .copied()
            .collect();
        if within.is_empty() {
            continue;
        }
        let group = within.iter().map(|other| many[*other].0.clone()).collect();
        let change = change((*one).clone(), group);
        all.push(Difference { kind: values.kind.clone(), change });
        ones_taken.insert(at);
        many_taken.extend(within);
    }
    drop(by_name);
    remove(ones, &ones_taken);
    remove(many, &many_taken);
}

fn remove<T>(from: &mut Vec<T>, places: &BTreeSet<usize>) {
    let mut at = 0;
    from.retain(|_| {
        at += 1;
        !places.contains(&(at - 1))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `name tag,tag kind second=value …`, one series per line; `-` stands for no tags.
    fn side(lines: &str) -> Side {
        let mut side = Side::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let tags: Vec<&str> = words[1].split(',').filter(|tag| *tag != "-").collect();
            let points: Vec<Value> = words[3..]
                .iter()
                .map(|point| {
                    let (second, value) = point.split_once('=').unwrap();
                    json!([second.parse::<i64>().unwrap(), value.parse::<f64>().unwrap()])
                })
                .collect();
            side.add(&Posted {
                route: Route::SeriesV1,
                item: json!({"metric": words[0], "tags": tags, "type": words[2], "host": "h",
                    "interval": 10, "points": points}),
            });
        }
        side
    }

    #[track_caller]
    fn differ(before: &str, after: &str, expect: &[&str]) {
        let all = differences(&side(before), &side(after));
        let text: Vec<String> = all.iter().map(Difference::text).collect();
        assert_eq!(text, expect);
    }

    #[test]
    fn nothing_differs_from_itself_in_any_order() {
        differ("a x,y rate 10=1 20=2\nb - gauge 10=1", "b - gauge 10=1\na y,x rate 10=1 20=2", &[]);
    }

    #[test]
    fn what_one_side_lacks_appears_or_vanishes() {
        differ(
            "a - rate 10=1\nb - rate 10=2",
            "b - rate 10=2\nc - gauge 10=1",
            &["vanishes  rate 10s  a on h", "appears   gauge  c on h"],
        );
    }

    #[test]
    fn the_same_values_under_another_name_are_renamed() {
        differ(
            "web.hits env:prod rate 10=1 20=3",
            "app.web.hits env:prod rate 10=1 20=3",
            &["renamed   rate 10s  web.hits {env:prod} on h -> app.web.hits"],
        );
        // By a mapper: the name loses parts that become tags.
        differ(
            "jobs.mail.done - count 10=4",
            "jobs.done job:mail count 10=4",
            &["renamed   count 10s  jobs.mail.done on h -> jobs.done  tags +job:mail"],
        );
        // Equal values do not confuse: the most alike belong together.
        differ(
            "a.one t rate 10=1\na.two t rate 10=1",
            "n.a.two t rate 10=1\nn.a.one t rate 10=1",
            &[
                "renamed   rate 10s  a.one {t} on h -> n.a.one",
                "renamed   rate 10s  a.two {t} on h -> n.a.two",
            ],
        );
    }

    #[test]
    fn values_that_are_equal_by_accident_are_no_new_name() {
        differ(
            "a x rate 10=1\nb y rate 10=1",
            "c z rate 10=1",
            &[
                "vanishes  rate 10s  a {x} on h",
                "vanishes  rate 10s  b {y} on h",
                "appears   rate 10s  c {z} on h",
            ],
        );
    }

    #[test]
    fn other_tags_are_named() {
        differ(
            "a env:prod,user:7 rate 10=1",
            "a env:prod,team:x rate 10=1",
            &["tags      rate 10s  a {env:prod,user:7} on h  tags -user:7 +team:x"],
        );
    }

    #[test]
    fn a_tag_less_merges_series_and_a_tag_more_splits_them() {
        let (many, one) = ("a user:1,z rate 10=1\na user:2,z rate 10=2", "a z rate 10=3");
        differ(
            many,
            one,
            &["merged    rate 10s  2 series of a into {z} on h: {user:1,z}, {user:2,z}"],
        );
        differ(
            one,
            many,
            &["split     rate 10s  a {z} on h into 2 series: {user:1,z}, {user:2,z}"],
        );
    }

    #[test]
    fn other_values_and_kinds_are_shown_with_the_first_point() {
        differ(
            "a - gauge 0=1 10=2 20=3",
            "a - gauge 0=1 10=5 20=4",
            &["value     gauge  a on h: 2 of 3 points, first at 1970-01-01T00:00:10Z: 2.0 -> 5.0"],
        );
        differ(
            "a - gauge 10=2",
            "a - gauge 10=2 20=3",
            &[
                "value     gauge  a on h: 1 of 2 points, first at 1970-01-01T00:00:20Z: nothing -> 3.0",
            ],
        );
        differ("a - gauge 10=2", "a - rate 10=2", &["kind      rate 10s  a on h: was gauge"]);
    }
}
