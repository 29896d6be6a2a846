//! Reads request bodies independently of our encoders: prost for protobuf, serde for JSON.

pub use super::messages::{
    Dogsketch, MetricPayload, MetricPoint, MetricSeries, Resource, Sketch, SketchPayload,
};
use prost::Message;
use serde_json::Value;
use std::io::Read;

/// How the values of a series read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Count,
    Rate,
    Gauge,
}

/// One series of either version.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub metric: String,
    /// Sorted; a device resource stands among them as `device:name`.
    pub tags: Vec<String>,
    pub host: String,
    pub kind: Kind,
    pub interval: i64,
    /// Unix second and value.
    pub points: Vec<(i64, f64)>,
}

/// Undoes `Content-Encoding`.
pub fn decompress(encoding: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = match encoding {
        "" | "identity" => return Ok(body.to_vec()),
        "deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut plain),
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "zstd" => return zstd::stream::decode_all(body).map_err(|e| format!("zstd: {e}")),
        other => return Err(format!("unknown content encoding {other:?}")),
    };
    read.map(|_| plain).map_err(|e| format!("{encoding}: {e}"))
}

/// Series of a v2 body.
pub fn series_v2(body: &[u8]) -> Result<Vec<Series>, String> {
    let payload = MetricPayload::decode(body).map_err(|e| format!("series v2: {e}"))?;
    payload.series.into_iter().map(one_series_v2).collect()
}

fn one_series_v2(series: MetricSeries) -> Result<Series, String> {
    let kind = match series.kind {
        1 => Kind::Count,
        2 => Kind::Rate,
        3 => Kind::Gauge,
        other => return Err(format!("{}: type {other}", series.metric)),
    };
    let mut tags = series.tags;
    let mut host = String::new();
    for resource in series.resources {
        match resource.kind.as_str() {
            "host" => host = resource.name,
            kind => tags.push(format!("{kind}:{}", resource.name)),
        }
    }
    tags.sort();
    let points = series.points.iter().map(|point| (point.timestamp, point.value)).collect();
    Ok(Series { metric: series.metric, tags, host, kind, interval: series.interval, points })
}

/// Series of a v1 body.
pub fn series_v1(body: &[u8]) -> Result<Vec<Series>, String> {
    let json = json(body)?;
    let list = json["series"].as_array().ok_or("series v1: no array \"series\"")?;
    list.iter().map(one_series_v1).collect()
}

fn one_series_v1(series: &Value) -> Result<Series, String> {
    let metric = series["metric"].as_str().ok_or("series v1: no metric")?.to_owned();
    let kind = match series["type"].as_str() {
        Some("count") => Kind::Count,
        Some("rate") => Kind::Rate,
        Some("gauge") => Kind::Gauge,
        other => return Err(format!("{metric}: type {other:?}")),
    };
    let texts = series["tags"].as_array().ok_or(format!("{metric}: no tags"))?;
    let mut tags: Vec<String> = texts.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    tags.extend(series["device"].as_str().map(|device| format!("device:{device}")));
    tags.sort();
    let points = series["points"].as_array().ok_or(format!("{metric}: no points"))?;
    let points: Option<Vec<(i64, f64)>> =
        points.iter().map(|point| Some((point[0].as_i64()?, point[1].as_f64()?))).collect();
    Ok(Series {
        points: points.ok_or(format!("{metric}: a point is not [seconds, number]"))?,
        tags,
        host: series["host"].as_str().unwrap_or_default().to_owned(),
        kind,
        interval: series["interval"].as_i64().unwrap_or(0),
        metric,
    })
}

/// Sketches of a protobuf body.
pub fn sketches(body: &[u8]) -> Result<Vec<Sketch>, String> {
    SketchPayload::decode(body).map(|p| p.sketches).map_err(|e| format!("sketches: {e}"))
}

/// Events of an `/intake/` body, the groups joined.
pub fn events(body: &[u8]) -> Result<Vec<Value>, String> {
    let json = json(body)?;
    let groups = json["events"].as_object().ok_or("intake: no object \"events\"")?;
    let lists =
        groups.values().map(|list| list.as_array().ok_or("intake: a group is not an array"));
    let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
    Ok(lists.into_iter().flatten().cloned().collect())
}

/// Checks of a `check_run` body.
pub fn checks(body: &[u8]) -> Result<Vec<Value>, String> {
    json(body)?.as_array().cloned().ok_or_else(|| "check_run: no array".to_owned())
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|e| format!("JSON: {e}"))
}
