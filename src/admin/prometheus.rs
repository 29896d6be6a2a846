//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::{self, Write as _};

use crate::telemetry::DurationSummary;

/// The content type of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    page: String,
}

/// How the values of a family read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows until the process ends.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Quantiles, with a sum and a count.
    Summary,
}

/// One metric name whose samples differ by labels.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Exposition {
    /// Begins a family; its samples must follow before the next one begins. `help` is one line.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: MetricKind, help: &str) -> Family<'a> {
        let word = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Summary => "summary",
        };
        let page = &mut self.page;
        let _ = writeln!(page, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(page, "# TYPE {name} {word}");
        Family { page, name }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: MetricKind, help: &str, value: impl fmt::Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The whole page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.page
    }
}

impl Family<'_> {
    /// The samples of a [`MetricKind::Summary`], in seconds.
    pub fn summary(&mut self, labels: &[(&str, &str)], summary: &DurationSummary) {
        let quantiles = [("0.5", summary.median), ("0.99", summary.p99), ("1", summary.max)];
        for (quantile, took) in quantiles.into_iter().filter(|_| summary.count > 0) {
            self.sample(&[labels, &[("quantile", quantile)]].concat(), took.as_secs_f64());
        }
        let name = self.name;
        for (suffix, value) in
            [("_sum", summary.sum.as_secs_f64()), ("_count", summary.count as f64)]
        {
            let name = format!("{name}{suffix}");
            Family { page: self.page, name: &name }.sample(labels, value);
        }
    }

    /// One sample. Label values may hold anything.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.page.push_str(self.name);
        for (at, (name, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.page, "{before}{name}=\"{}\"", escaped(text, true));
        }
        if !labels.is_empty() {
            self.page.push('}');
        }
        let _ = writeln!(self.page, " {value}");
    }
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut shown = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes {
        shown = shown.replace('"', "\\\"");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Exposition::default();
        let mut family = page.family("a_total", MetricKind::Counter, "What it\ncounts.");
        family.sample(&[("path", "C:\\\"x\"\ny"), ("state", "ok")], 3_u64);
        family.sample(&[], 0.5);
        page.single("b", MetricKind::Gauge, "B.", 1);
        assert_eq!(
            page.into_text(),
            "# HELP a_total What it\\ncounts.\n\
             # TYPE a_total counter\n\
             a_total{path=\"C:\\\\\\\"x\\\"\\ny\",state=\"ok\"} 3\n\
             a_total 0.5\n\
             # HELP b B.\n\
             # TYPE b gauge\n\
             b 1\n"
        );
    }
}
