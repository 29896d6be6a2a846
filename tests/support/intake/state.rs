//! What the intake knows: requests, and what they stored.

use super::request::Request;
use crate::support::decode::{self, Series, Sketch};
use serde_json::Value;
use std::collections::BTreeMap;

/// The identity under which the intake keeps points: name, tags, host.
type SeriesKey = (String, Vec<String>, String);

/// Everything the intake knows.
#[derive(Debug, Default)]
pub struct State {
    /// Every request but key checks, in order of arrival.
    pub requests: Vec<Request>,
    /// Every key check.
    pub validations: Vec<Request>,
    /// Connections accepted so far.
    pub connections: usize,
    /// Sketches in order of arrival.
    pub sketches: Vec<Sketch>,
    /// Events in order of arrival.
    pub events: Vec<Value>,
    /// Service checks in order of arrival.
    pub checks: Vec<Value>,
    /// What could not be decoded, with the reason.
    pub undecodable: Vec<String>,
    /// Points written over another with the same key and second.
    pub overwritten: usize,
    series: BTreeMap<SeriesKey, Series>,
}

impl State {
    /// The stored series with that name and at least those tags, points in order of time.
    pub fn series(&self, name: &str, tags: &[&str]) -> Vec<&Series> {
        let wanted = |series: &&Series| {
            series.metric == name && tags.iter().all(|tag| series.tags.iter().any(|t| t == tag))
        };
        self.series.values().filter(wanted).collect()
    }

    /// Every stored series, by name, tags and host.
    pub fn all_series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// All points of those series as (second, value).
    pub fn points(&self, name: &str, tags: &[&str]) -> Vec<(i64, f64)> {
        self.series(name, tags).iter().flat_map(|series| series.points.iter().copied()).collect()
    }

    /// The total of a counter: rates times their interval, counts as they are.
    pub fn sum_of_counter(&self, name: &str, tags: &[&str]) -> f64 {
        let total = |series: &&Series| {
            let sum: f64 = series.points.iter().map(|point| point.1).sum();
            if series.kind == decode::Kind::Rate { sum * series.interval as f64 } else { sum }
        };
        self.series(name, tags).iter().map(total).sum()
    }

    /// The value with the latest second among those series.
    pub fn last_value(&self, name: &str, tags: &[&str]) -> Option<f64> {
        self.points(name, tags).into_iter().max_by_key(|point| point.0).map(|point| point.1)
    }

    /// Values in all sketches of that name and at least those tags.
    pub fn count_of_sketches(&self, name: &str, tags: &[&str]) -> i64 {
        let wanted = |sketch: &&Sketch| {
            sketch.metric == name && tags.iter().all(|tag| sketch.tags.iter().any(|t| t == tag))
        };
        let sketches = self.sketches.iter().filter(wanted);
        sketches.flat_map(|sketch| &sketch.dogsketches).map(|dogsketch| dogsketch.cnt).sum()
    }

    /// Requests with that path.
    pub fn requests_to(&self, path: &str) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.path() == path).collect()
    }

    pub(super) fn store(&mut self, request: &Request) -> Result<(), String> {
        match request.path() {
            "/api/v2/series" => self.store_series(decode::series_v2(&request.plain)?),
            "/api/v1/series" => self.store_series(decode::series_v1(&request.plain)?),
            "/api/beta/sketches" => self.sketches.extend(decode::sketches(&request.plain)?),
            "/intake/" => self.events.extend(decode::events(&request.plain)?),
            "/api/v1/check_run" => self.checks.extend(decode::checks(&request.plain)?),
            // Kept as requests: what a door passes on is compared byte for byte.
            "/api/v0.1/pipeline_stats" | "/api/v0.2/stats" | "/api/v2/apmtelemetry" => {}
            other => return Err(format!("no such route: {other}")),
        }
        Ok(())
    }

    fn store_series(&mut self, list: Vec<Series>) {
        for series in list {
            let key = (series.metric.clone(), series.tags.clone(), series.host.clone());
            let mut points: BTreeMap<i64, f64> = BTreeMap::new();
            if let Some(known) = self.series.get(&key) {
                points.extend(known.points.iter().copied());
            }
            for (second, value) in &series.points {
                self.overwritten += usize::from(points.insert(*second, *value).is_some());
            }
            let points = points.into_iter().collect();
            self.series.insert(key, Series { points, ..series });
        }
    }
}

impl State {
    /// Everything in a sentence, for a test that waited in vain.
    pub(super) fn summary(&self) -> String {
        let requests: Vec<String> = self
            .requests
            .iter()
            .map(|request| format!("{} {} -> {}", request.method, request.target, request.status))
            .collect();
        format!(
            "{} connections, requests {requests:?}, {} key checks, series {:?}, {} sketches, \
             {} events, {} checks, undecodable {:?}",
            self.connections,
            self.validations.len(),
            self.series.values().map(|one| (&one.metric, &one.points)).collect::<Vec<_>>(),
            self.sketches.len(),
            self.events.len(),
            self.checks.len(),
            self.undecodable,
        )
    }
}
