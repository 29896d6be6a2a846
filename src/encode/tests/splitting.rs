//! Payload borders: nothing beyond a limit, nothing lost, doubled or reordered.

use super::*;
use crate::encode::split::{SplitError, halve};
use bytes::Bytes;
use proptest::prelude::*;

fn all_compressions() -> Vec<Compression> {
    ["none", "zlib", "gzip", "zstd"].iter().filter_map(|kind| Compression::named(kind, 1)).collect()
}

/// The same limits for all routes.
fn limits(compressed_bytes: usize, uncompressed_bytes: usize, points: usize) -> PayloadLimits {
    PayloadLimits {
        series_compressed_bytes: compressed_bytes,
        series_uncompressed_bytes: uncompressed_bytes,
        series_points: points,
        compressed_bytes,
        uncompressed_bytes,
    }
}

/// Bytes of a kind that compressors make nothing of, as lower-case letters and digits.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"abcdefghijklmnopqrstuvwxyz012345"[(state >> 59) as usize]
    };
    (0..bytes).map(|_| next()).collect()
}

fn sizes(payloads: &[Payload]) -> Vec<(usize, usize)> {
    payloads.iter().map(|payload| (payload.items, payload.points)).collect()
}

#[test]
fn nothing_to_send_makes_no_payload() {
    let limits = PayloadLimits::default();
    assert_eq!(encode_series(SeriesFormat::V1, &limits, &[]), []);
    assert_eq!(encode_series(SeriesFormat::V2, &limits, &[page_views(&[])]), []);
    assert_eq!(encode_events(&limits, &[]), []);
    assert_eq!(encode_checks(&limits, &[]), []);
    let mut encoder = SketchEncoder::new(Compression::None, &limits).unwrap();
    let empty = SketchSeries {
        name: b"x",
        host: b"",
        tags: Tags::from_wire(b""),
        timestamp: 0,
        sketch: &Sketch::default(),
    };
    let payloads = collect(|sink| {
        encoder.push(&empty, sink);
        encoder.finish(sink)
    });
    assert_eq!(payloads, []);
}

#[test]
fn a_payload_ends_before_one_point_too_many() {
    let three = [POINT; 3];
    let limits = limits(usize::MAX, usize::MAX, 6);
    for format in [SeriesFormat::V1, SeriesFormat::V2] {
        let series = [page_views(&three); 3];
        assert_eq!(sizes(&encode_series(format, &limits, &series)), [(2, 6), (1, 3)]);
    }
}

#[test]
fn a_series_with_more_points_than_a_payload_holds_comes_in_parts() {
    let points: Vec<Point> =
        (0..25).map(|at| Point { timestamp: at, value: at as f64 + 0.5 }).collect();
    let series = [page_views(&points[..1]), page_views(&points)];
    let limits = limits(usize::MAX, usize::MAX, 10);
    let payloads = encode_series(SeriesFormat::V2, &limits, &series);
    assert_eq!(sizes(&payloads), [(1, 1), (1, 10), (1, 10), (1, 5)]);
    let read = decoded::series(&payloads[1..]);
    let values: Vec<f64> = read.iter().flat_map(|one| &one.points).map(|p| p.value).collect();
    assert_eq!(values, points.iter().map(|point| point.value).collect::<Vec<_>>());
    assert!(read.iter().all(|one| one.metric == "page.views" && one.tags == ["env:prod"]));
}

#[test]
fn uncompressed_bytes_are_used_to_the_last_one() {
    let one = encode_series(SeriesFormat::V1, &PayloadLimits::default(), &[page_views(&[POINT])]);
    let two =
        encode_series(SeriesFormat::V1, &PayloadLimits::default(), &[page_views(&[POINT]); 2]);
    let (one, two) = (one[0].uncompressed_bytes, two[0].uncompressed_bytes);
    let counts = |bytes| {
        let series = [page_views(&[POINT]); 4];
        sizes(&encode_series(SeriesFormat::V1, &limits(usize::MAX, bytes, 100), &series))
    };
    assert_eq!(counts(two), [(2, 2), (2, 2)]);
    assert_eq!(counts(two - 1), [(1, 1); 4]);
    assert_eq!(counts(one), [(1, 1); 4]);
}

#[test]
fn an_item_too_big_alone_is_dropped_and_its_neighbours_are_not() {
    for compression in all_compressions() {
        let mut encoder = CheckEncoder::new(compression, &limits(4_000, 8_000, 100)).unwrap();
        let mut payloads = Vec::new();
        let mut sink = |payload| payloads.push(payload);
        let noisy = |bytes| CheckRecord { message: noise(bytes, 5).into(), ..check() };
        encoder.push(&check(), &mut sink);
        encoder.push(&noisy(7_500), &mut sink);
        encoder.push(&check(), &mut sink);
        encoder.push(&noisy(9_000), &mut sink);
        encoder.push(&check(), &mut sink);
        let counts = encoder.finish(&mut sink);
        let expect = EncodeCounts { items_too_big: 2, points_too_big: 2, ..Default::default() };
        assert_eq!(counts, expect, "{compression:?}");
        let items: usize = payloads.iter().map(|payload| payload.items).sum();
        assert_eq!(items, 3, "{compression:?}");
    }
}

#[test]
fn an_item_whose_worst_case_is_too_big_is_sent_when_it_shrinks() {
    let long = CheckRecord { message: vec![b'a'; 7_000].into(), ..check() };
    for compression in all_compressions().into_iter().filter(|one| *one != Compression::None) {
        let mut encoder = CheckEncoder::new(compression, &limits(1_000, 8_000, 100)).unwrap();
        let payloads = collect(|sink| {
            encoder.push(&check(), sink);
            encoder.push(&long, sink);
            encoder.push(&check(), sink);
            encoder.finish(sink)
        });
        let items: usize = payloads.iter().map(|payload| payload.items).sum();
        assert_eq!(items, 3, "{compression:?}");
    }
}

#[test]
fn compressed_room_is_used_rather_than_guessed_away() {
    // 4000 like series shrink at least tenfold: bounding alone would cut after some 500.
    let series = [page_views(&[POINT]); 4_000];
    for compression in all_compressions().into_iter().filter(|one| *one != Compression::None) {
        let mut encoder =
            SeriesEncoder::new(SeriesFormat::V2, compression, &limits(33_000, usize::MAX, 10_000))
                .unwrap();
        let payloads = collect(|sink| {
            series.iter().for_each(|one| encoder.push(one, sink));
            encoder.finish(sink)
        });
        assert_eq!(sizes(&payloads), [(4_000, 4_000)], "{compression:?}");
    }
}

#[test]
fn an_encoder_serves_flush_after_flush() {
    let mut encoder = SeriesEncoder::new(
        SeriesFormat::V2,
        Compression::preset(Route::SeriesV2),
        &limits(600, 2_000, 9),
    )
    .unwrap();
    let series = [page_views(&[POINT; 2]); 20];
    let mut flush = |built_at| {
        encoder.begin(built_at);
        collect(|sink| {
            series.iter().for_each(|one| encoder.push(one, sink));
            encoder.finish(sink)
        })
    };
    let (first, second) = (flush(1), flush(2));
    assert_eq!(sizes(&first), [(4, 8); 5]);
    let aged: Vec<_> = first.into_iter().map(|one| Payload { built_at: 2, ..one }).collect();
    assert_eq!(aged, second);
}

#[test]
fn event_groups_never_come_twice_in_one_object() {
    let sources = ["b", "", "a", "b", "\u{FFFD}", "api", "a"];
    let mut events: Vec<EventRecord> = sources.map(event).into();
    events[4].source_type = Box::from(&b"\xFF"[..]);
    events.push(event("\u{FFFD}"));
    let mut encoder =
        EventEncoder::new(Compression::None, &PayloadLimits::default(), b"web-1").unwrap();
    let mut payloads = Vec::new();
    let counts = encoder.encode(&events, &mut |payload| payloads.push(payload));
    assert_eq!(counts.invalid_utf8, 1);
    let text = String::from_utf8(decoded::body(&payloads[0])).unwrap();
    for group in ["\"a\":[", "\"b\":[", "\"api\":[", "\"\u{FFFD}\":["] {
        assert_eq!(text.matches(group).count(), 1, "{group} in {text}");
    }
    let groups: Vec<_> =
        decoded::json_items(&payloads[0]).into_iter().map(|(group, _)| group).collect();
    assert_eq!(groups, ["a", "a", "api", "api", "b", "b", "\u{FFFD}", "\u{FFFD}"]);
}

#[track_caller]
fn refuses(payload: Payload, expect: &str) {
    let error = halve(&payload).unwrap_err();
    assert!(error.to_string().contains(expect), "{error}");
}

#[test]
fn halving_refuses_what_is_no_payload() {
    let good = encode_checks(&PayloadLimits::default(), &[check(), check()]).remove(0);
    assert_eq!(good.encoding, ContentEncoding::Deflate);
    refuses(Payload { body: Bytes::from_static(b"junk"), ..good.clone() }, "codec failed");
    refuses(Payload { uncompressed_bytes: 20, ..good.clone() }, "more than 20 bytes");
    refuses(Payload { route: Route::SeriesV1, ..good.clone() }, "not a valid series_v1 payload");
    refuses(Payload { route: Route::SeriesV2, ..good.clone() }, "not a valid series_v2 payload");
    refuses(Payload { route: Route::Events, ..good.clone() }, "not a valid events payload");
    let empty = halve(&Payload { encoding: ContentEncoding::Identity, body: Bytes::new(), ..good });
    assert!(matches!(empty, Err(SplitError::Malformed("service_checks"))));
}

/// Every payload cut down to single items, in order; each cut must keep age, route and encoding.
fn shreds(payloads: &[Payload]) -> Vec<Payload> {
    let mut open: Vec<Payload> = payloads.iter().rev().cloned().collect();
    let mut shreds = Vec::new();
    while let Some(payload) = open.pop() {
        match halve(&payload).unwrap() {
            None => shreds.push(payload),
            Some((left, right)) => {
                assert_eq!(left.items + right.items, payload.items);
                assert_eq!(left.points + right.points, payload.points);
                for half in [&left, &right] {
                    assert!(half.items > 0);
                    assert_eq!((half.route, half.encoding), (payload.route, payload.encoding));
                    assert_eq!(half.built_at, payload.built_at);
                }
                open.extend([right, left]);
            }
        }
    }
    assert!(shreds.iter().all(|shred| shred.items == 1));
    shreds
}

fn keeps(payloads: &[Payload], limits: &PayloadLimits) {
    for payload in payloads {
        let bounds = limits.of(payload.route);
        assert!(payload.body.len() <= bounds.compressed_bytes, "{} compressed", payload.body.len());
        assert!(payload.uncompressed_bytes <= bounds.uncompressed_bytes);
        assert!(payload.points <= bounds.points);
        assert!(payload.items > 0);
    }
}

/// An item of any route: a name, noise to resist compression, tags, points.
#[derive(Clone, Debug)]
struct Draft {
    name: String,
    noise: usize,
    tags: Vec<String>,
    values: Vec<f64>,
    group: u8,
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let draft = (
        "[a-zé\"\\\\]{1,12}",
        prop_oneof![3 => 0..40_usize, 1 => 0..600_usize],
        prop::collection::vec("[a-c]{1,4}:[xyzé]{0,9}", 0..5),
        prop::collection::vec(finite, 1..7),
        0..3_u8,
    );
    let draft = draft.prop_map(|(name, noise, tags, values, group)| Draft {
        name,
        noise,
        tags,
        values,
        group,
    });
    prop::collection::vec(draft, 0..120)
}

fn any_limits() -> impl Strategy<Value = PayloadLimits> {
    (1_500..8_000_usize, 2_000..20_000_usize, 3..50_usize).prop_map(|(c, u, p)| limits(c, u, p))
}

fn any_compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(all_compressions())
}

impl Draft {
    /// Its name, made long and unlike any other.
    fn full_name(&self, place: usize) -> String {
        let noise = String::from_utf8(noise(self.noise, place as u64 + 1)).unwrap();
        format!("{}{place}{noise}", self.name)
    }

    fn points(&self, place: usize) -> Vec<Point> {
        let timestamp = 1_700_000_000 + place as i64;
        self.values.iter().map(|value| Point { timestamp, value: *value }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn series_come_out_as_they_went_in(
        drafts in drafts(), limits in any_limits(), compression in any_compression(),
    ) {
        let joined: Vec<String> = drafts.iter().map(|draft| draft.tags.join(",")).collect();
        let names: Vec<String> =
            drafts.iter().enumerate().map(|(place, draft)| draft.full_name(place)).collect();
        let points: Vec<_> =
            drafts.iter().enumerate().map(|(place, draft)| draft.points(place)).collect();
        let expect: Vec<_> = (0..drafts.len())
            .flat_map(|place| points[place].iter().map(move |point| (place, *point)))
            .map(|(place, point)| (names[place].clone(), drafts[place].tags.clone(), point))
            .collect();
        let series: Vec<_> = (0..drafts.len())
            .map(|place| Series {
                name: names[place].as_bytes(),
                suffix: "",
                tags: Tags::from_wire(joined[place].as_bytes()),
                ..page_views(&points[place])
            })
            .collect();
        for format in [SeriesFormat::V1, SeriesFormat::V2] {
            let mut encoder = SeriesEncoder::new(format, compression, &limits).unwrap();
            let payloads = collect(|sink| {
                series.iter().for_each(|one| encoder.push(one, sink));
                encoder.finish(sink)
            });
            keeps(&payloads, &limits);
            for parts in [&payloads, &shreds(&payloads)] {
                prop_assert_eq!(read_back(format, parts), expect.clone());
            }
        }
    }

    #[test]
    fn sketches_come_out_as_they_went_in(
        drafts in drafts(), limits in any_limits(), compression in any_compression(),
    ) {
        let mut encoder = SketchEncoder::new(compression, &limits).unwrap();
        let mut expect = Vec::new();
        let payloads = collect(|sink| {
            for (place, draft) in drafts.iter().enumerate() {
                let mut sketch = Sketch::default();
                draft.values.iter().for_each(|value| _ = sketch.insert(*value / 1e10, 0.25));
                let name = draft.full_name(place);
                let timestamp = 1_700_000_000 + place as i64;
                let joined = draft.tags.join(",");
                encoder.push(&SketchSeries {
                    name: name.as_bytes(),
                    host: b"h",
                    tags: Tags::from_wire(joined.as_bytes()),
                    timestamp,
                    sketch: &sketch,
                }, sink);
                expect.push((name, draft.tags.clone(), timestamp, sketch));
            }
            encoder.finish(sink)
        });
        keeps(&payloads, &limits);
        for parts in [&payloads, &shreds(&payloads)] {
            let read = decoded::sketches(parts);
            prop_assert_eq!(read.len(), expect.len());
            for (read, (name, tags, timestamp, sketch)) in read.iter().zip(&expect) {
                prop_assert_eq!((&read.metric, &read.tags, &*read.host), (name, tags, "h"));
                let dog = &read.dogsketches[0];
                prop_assert_eq!((dog.ts, dog.cnt), (*timestamp, sketch.count() as i64));
                prop_assert_eq!(
                    (dog.min, dog.max, dog.avg, dog.sum),
                    (sketch.min(), sketch.max(), sketch.avg(), sketch.sum())
                );
                let bins: Vec<_> = dog.k.iter().copied().zip(dog.n.iter().copied()).collect();
                let expect: Vec<_> =
                    sketch.bins().map(|(key, count)| (i32::from(key), count)).collect();
                prop_assert_eq!(bins, expect);
            }
        }
    }

    #[test]
    fn events_and_checks_come_out_as_they_went_in(
        drafts in drafts(), limits in any_limits(), compression in any_compression(),
    ) {
        let mut events = Vec::new();
        let mut checks = Vec::new();
        for (place, draft) in drafts.iter().enumerate() {
            let name: Box<[u8]> = draft.full_name(place).into_bytes().into();
            let group = ["", "chef", "api"][usize::from(draft.group)];
            events.push(EventRecord { title: name.clone(), ..event(group) });
            checks.push(CheckRecord { name, ..check() });
        }
        let mut encoder = EventEncoder::new(compression, &limits, b"h").unwrap();
        let payloads = collect(|sink| encoder.encode(&events, sink));
        keeps(&payloads, &limits);
        let titles = |group: &str| -> Vec<String> {
            let grouped = events.iter().filter(|event| {
                (&*event.source_type == b"chef") == (group == "chef")
            });
            grouped.map(|event| String::from_utf8(event.title.to_vec()).unwrap()).collect()
        };
        let expect = [titles("api"), titles("chef")].concat();
        for parts in [&payloads, &shreds(&payloads)] {
            prop_assert_eq!(&texts(parts, "msg_title"), &expect);
        }

        let mut encoder = CheckEncoder::new(compression, &limits).unwrap();
        let payloads = collect(|sink| {
            checks.iter().for_each(|one| encoder.push(one, sink));
            encoder.finish(sink)
        });
        keeps(&payloads, &limits);
        let expect: Vec<_> =
            checks.iter().map(|one| String::from_utf8(one.name.to_vec()).unwrap()).collect();
        for parts in [&payloads, &shreds(&payloads)] {
            prop_assert_eq!(&texts(parts, "check"), &expect);
        }
    }

    #[test]
    fn halving_never_panics_on_any_body(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        route in prop::sample::select(Route::ALL.to_vec()),
    ) {
        let payload = Payload {
            route,
            uncompressed_bytes: bytes.len(),
            body: bytes.into(),
            encoding: ContentEncoding::Identity,
            items: 0,
            points: 0,
            built_at: 0,
        };
        if let Ok(Some((left, right))) = halve(&payload) {
            prop_assert!(left.items > 0 && right.items > 0);
        }
    }
}

/// Every point with the name and tags of its series, as another reader finds them.
fn read_back(format: SeriesFormat, payloads: &[Payload]) -> Vec<(String, Vec<String>, Point)> {
    let mut read = Vec::new();
    match format {
        SeriesFormat::V2 => {
            for one in decoded::series(payloads) {
                assert_eq!((one.kind, one.interval), (2, 10));
                read.extend(one.points.iter().map(|point| {
                    let point = Point { timestamp: point.timestamp, value: point.value };
                    (one.metric.clone(), one.tags.clone(), point)
                }));
            }
        }
        SeriesFormat::V1 => {
            for one in decoded::series_v1(payloads) {
                read.extend(one.points.iter().map(|(timestamp, value)| {
                    let value = value.get().parse().unwrap();
                    let point = Point { timestamp: *timestamp, value };
                    (one.metric.clone(), one.tags.clone(), point)
                }));
            }
        }
    }
    read
}

fn texts(payloads: &[Payload], field: &str) -> Vec<String> {
    let items = payloads.iter().flat_map(decoded::json_items);
    items.map(|(_, item)| item[field].as_str().unwrap().to_owned()).collect()
}
