//! The metrics of a program: handles by name, and what they gathered at a flush.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::cells::{Key, Now, NumberCell, ValuesCell};
use super::handles::{Count, Distribution, Gauge, Rate};
use super::payload::{DistributionSeries, MetricKind, MetricSeries, Payload};
use super::ring_queue::BufferPool;

/// Counts, rates and gauges, as in libdatadog; one more gathers nothing.
const NUMBERS_MAX: usize = 5_000;
/// Distributions: each may hold 128 KiB between two flushes, so all together hold 64 MiB.
const DISTRIBUTIONS_MAX: usize = 500;

/// Cells by key. It may serve several clients one after another: see the module of the cells.
#[derive(Debug)]
pub(super) struct Store {
    numbers: Cells<MetricKind, NumberCell>,
    distributions: Cells<(), ValuesCell>,
    pool: Arc<BufferPool<f64>>,
    pub losses: StoreLosses,
}

/// What the store could not take.
#[derive(Debug, Default)]
pub(super) struct StoreLosses {
    /// Values that were not finite.
    pub not_finite: Arc<AtomicU64>,
    /// Values of distributions that gave way to newer ones.
    pub values: Arc<AtomicU64>,
    /// Handles that gather nothing: there are too many metrics, or theirs has no name.
    pub handles: AtomicU64,
}

impl Default for Store {
    fn default() -> Self {
        let (losses, pool) = (StoreLosses::default(), Arc::default());
        Store {
            numbers: Cells::new(NUMBERS_MAX),
            distributions: Cells::new(DISTRIBUTIONS_MAX),
            pool,
            losses,
        }
    }
}

impl Store {
    pub fn count(&self, namespace: &str, name: &str, tags: &[&str]) -> Count {
        Count(self.number(namespace, MetricKind::Count, name, tags))
    }

    pub fn rate(&self, namespace: &str, name: &str, tags: &[&str]) -> Rate {
        Rate(self.number(namespace, MetricKind::Rate, name, tags))
    }

    pub fn gauge(&self, namespace: &str, name: &str, tags: &[&str]) -> Gauge {
        Gauge(self.number(namespace, MetricKind::Gauge, name, tags))
    }

    fn number(
        &self,
        namespace: &str,
        kind: MetricKind,
        name: &str,
        tags: &[&str],
    ) -> Arc<NumberCell> {
        let make = || NumberCell::new(kind, Arc::clone(&self.losses.not_finite));
        let cell = self.numbers.get(Key::new(namespace, kind, name, tags), make);
        cell.unwrap_or_else(|| {
            self.losses.handles.fetch_add(1, Ordering::Relaxed);
            Arc::new(make())
        })
    }

    pub fn distribution(&self, namespace: &str, name: &str, tags: &[&str]) -> Distribution {
        let losses = &self.losses;
        let make = || {
            let (lost, refused) = (Arc::clone(&losses.values), Arc::clone(&losses.not_finite));
            ValuesCell::new(name.to_owned(), Arc::clone(&self.pool), lost, refused)
        };
        let cell = self.distributions.get(Key::new(namespace, (), name, tags), make);
        Distribution(cell.unwrap_or_else(|| {
            losses.handles.fetch_add(1, Ordering::Relaxed);
            Arc::new(make())
        }))
    }

    /// A client begins to collect.
    pub fn begin(&self, now: Now) {
        self.numbers.each(|_, cell| cell.begin(now));
    }

    /// Makes a point of every metric that has one to make.
    pub fn close_points(&self, now: Now) {
        self.numbers.each(|_, cell| cell.close_point(now));
    }
}

/// Cells by key, up to a bound.
#[derive(Debug)]
struct Cells<K, C> {
    by_key: RwLock<HashMap<Key<K>, Arc<C>>>,
    max: usize,
}

impl<K: Clone + Eq + Hash, C> Cells<K, C> {
    fn new(max: usize) -> Self {
        Cells { by_key: RwLock::default(), max }
    }

    /// The cell of `key`, made if need be; none without a name or without room.
    fn get(&self, key: Key<K>, make: impl Fn() -> C) -> Option<Arc<C>> {
        if key.metric.is_empty() {
            return None;
        }
        let known = self.by_key.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if known.is_some() {
            return known;
        }
        let mut cells = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= self.max && !cells.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(cells.entry(key).or_insert_with(|| Arc::new(make()))))
    }

    fn each(&self, mut visit: impl FnMut(&Key<K>, &C)) {
        let cells = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().for_each(|(key, cell)| visit(key, cell));
    }
}

/// What the metrics of all `stores` gathered since the last flush, each metric once.
pub(super) fn numbers(stores: &[Arc<Store>]) -> Option<Payload> {
    /// Points, and the interval of rates.
    type Gathered = (Vec<(u64, f64)>, Option<f64>);
    let mut found: BTreeMap<Key<MetricKind>, Gathered> = BTreeMap::new();
    for store in stores {
        store.numbers.each(|key, cell| {
            let (points, interval) = cell.take();
            if points.is_empty() {
                return;
            }
            let metric = found.entry(key.clone()).or_default();
            metric.0.extend(points);
            metric.1 = interval;
        });
    }
    let series: Vec<MetricSeries> = found
        .into_iter()
        .map(|(key, (points, interval))| MetricSeries {
            points: one_per_second(key.kind, points),
            namespace: key.namespace,
            metric: key.metric,
            kind: key.kind,
            interval,
            tags: key.tags,
            common: true,
        })
        .collect();
    (!series.is_empty()).then_some(Payload::GenerateMetrics { series })
}

/// In order, and of two points of one second one: the intake would keep the later.
fn one_per_second(kind: MetricKind, mut points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    points.sort_by_key(|point| point.0);
    points.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = match kind {
                MetricKind::Gauge => later.1,
                MetricKind::Count | MetricKind::Rate => kept.1 + later.1,
            };
        }
        same
    });
    points
}

/// As [`numbers`], for distributions.
pub(super) fn distributions(stores: &[Arc<Store>]) -> Option<Payload> {
    let mut found: BTreeMap<Key<()>, Vec<f64>> = BTreeMap::new();
    for store in stores {
        store.distributions.each(|key, cell| {
            let values = cell.take();
            if !values.is_empty() {
                found.entry(key.clone()).or_default().extend(values);
            }
        });
    }
    let series: Vec<DistributionSeries> = found
        .into_iter()
        .map(|(key, points)| DistributionSeries {
            namespace: key.namespace,
            metric: key.metric,
            points,
            tags: key.tags,
            common: true,
        })
        .collect();
    (!series.is_empty()).then_some(Payload::Distributions { series })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Now = Now { second: 50, monotonic: Duration::from_secs(50) };

    fn told(stores: &[Arc<Store>]) -> Vec<String> {
        let row = |series: &MetricSeries| {
            let MetricSeries { namespace, metric, kind, points, tags, .. } = series;
            format!("{namespace}.{metric} {kind:?} {points:?} {}", tags.join(","))
        };
        match numbers(stores) {
            None => Vec::new(),
            Some(Payload::GenerateMetrics { series }) => series.iter().map(row).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn handles_of_one_metric_share_its_points_whatever_the_order_of_tags() {
        let store = Arc::new(Store::default());
        store.count("tracers", "c", &["b:2", "a:1"]).submit(1.0);
        store.count("tracers", "c", &["a:1", "b:2"]).submit(2.0);
        store.count("general", "c", &["a:1", "b:2"]).submit(4.0);
        store.gauge("tracers", "c", &["a:1", "b:2"]).submit(8.0);
        store.count("tracers", "untouched", &[]);
        store.close_points(NOW);
        assert_eq!(
            told(std::slice::from_ref(&store)),
            [
                "general.c Count [(50, 4.0)] a:1,b:2",
                "tracers.c Count [(50, 3.0)] a:1,b:2",
                "tracers.c Gauge [(50, 8.0)] a:1,b:2",
            ]
        );
        store.close_points(NOW);
        assert!(told(&[store]).is_empty());
    }

    #[test]
    fn a_metric_of_two_stores_is_told_once() {
        let stores = [Arc::new(Store::default()), Arc::default()];
        for (value, store) in [1.0, 2.0].into_iter().zip(&stores) {
            store.count("general", "c", &[]).submit(value);
            store.gauge("general", "g", &[]).submit(value);
            store.distribution("general", "d", &[]).submit(value);
            store.close_points(NOW);
        }
        assert_eq!(told(&stores), ["general.c Count [(50, 3.0)] ", "general.g Gauge [(50, 2.0)] "]);
        let Some(Payload::Distributions { series }) = distributions(&stores) else { panic!() };
        assert_eq!((series.len(), &series[0].points[..]), (1, &[1.0, 2.0][..]));
        assert_eq!(distributions(&stores), None);
    }

    #[test]
    fn metrics_past_the_bound_and_without_a_name_gather_nothing_and_are_counted() {
        let store = Arc::new(Store::default());
        for number in 0..NUMBERS_MAX {
            store.count("general", &number.to_string(), &[]);
        }
        store.count("general", "one more", &[]).submit(1.0);
        store.gauge("general", "", &[]).submit(1.0);
        store.distribution("general", "", &[]).submit(1.0);
        store.count("general", "7", &[]).submit(1.0);
        store.close_points(NOW);
        assert_eq!(told(std::slice::from_ref(&store)), ["general.7 Count [(50, 1.0)] "]);
        assert_eq!(store.losses.handles.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn no_addition_is_lost_between_threads_and_flushes() {
        const EACH: u32 = 20_000;
        let store = Arc::new(Store::default());
        let mut total = 0.0;
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let count = store.count("general", "c", &[]);
                    scope.spawn(move || (0..EACH).for_each(|_| count.submit(1.0)))
                })
                .collect();
            let mut sum = |stores: &[Arc<Store>]| {
                store.close_points(NOW);
                if let Some(Payload::GenerateMetrics { series }) = numbers(stores) {
                    total +=
                        series.iter().flat_map(|series| &series.points).map(|p| p.1).sum::<f64>();
                }
            };
            while !workers.iter().all(|worker| worker.is_finished()) {
                sum(std::slice::from_ref(&store));
            }
            sum(std::slice::from_ref(&store));
        });
        assert_eq!(total, f64::from(3 * EACH));
    }
}
