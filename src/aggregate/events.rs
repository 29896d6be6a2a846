//! Events and service checks: enriched and kept as they are, never merged.

use std::sync::Arc;

use super::event_record::{CheckRecord, EventRecord};
use super::shard::{Fate, Shard};
use crate::context::{Claims, DropReason, Enriched, Rules, utf8_bytes};
use crate::protocol::{self, Event, ServiceCheck};

impl Shard {
    pub(super) fn event(&mut self, event: &Event<'_>, sender: &[u8]) -> Result<(), Fate> {
        let rules = Arc::clone(self.contexts.rules());
        for text in [event.title, event.text] {
            rules.limits.check_text(text).map_err(Fate::Dropped)?;
        }
        let claims = Claims { fields: event.origin, sender };
        let enriched = enrich(&rules, event.tags, &claims)?;
        if self.bucket.events.len() >= self.settings.events_max {
            return Err(Fate::Dropped(DropReason::IntervalFull));
        }
        let mut repaired = u64::from(enriched.repaired);
        let mut text = |bytes: &[u8]| Box::from(&*utf8_bytes(bytes, &mut repaired));
        let ignored = event.ignored;
        self.bucket.counts.fields_ignored += u64::from(ignored.timestamp)
            + u64::from(ignored.priority)
            + u64::from(ignored.alert_type);
        self.bucket.events.push(EventRecord {
            title: text(&protocol::unescape(event.title)),
            text: text(&protocol::unescape(event.text)),
            timestamp: event.timestamp.filter(|time| *time != 0).unwrap_or(self.now),
            priority: event.priority,
            alert_type: event.alert_type,
            host: text(host_of(event.host, &enriched, &rules)),
            aggregation_key: text(event.aggregation_key),
            source_type: text(event.source_type),
            tags: sorted_tags(&enriched, &rules),
        });
        self.bucket.counts.texts_repaired += u64::from(repaired > 0);
        self.bucket.counts.events += 1;
        Ok(())
    }

    pub(super) fn check(&mut self, check: &ServiceCheck<'_>, sender: &[u8]) -> Result<(), Fate> {
        let rules = Arc::clone(self.contexts.rules());
        rules.limits.check_text(check.message).map_err(Fate::Dropped)?;
        let claims = Claims { fields: check.origin, sender };
        let enriched = enrich(&rules, check.tags, &claims)?;
        if self.bucket.checks.len() >= self.settings.events_max {
            return Err(Fate::Dropped(DropReason::IntervalFull));
        }
        let mut repaired = u64::from(enriched.repaired);
        let mut text = |bytes: &[u8]| Box::from(&*utf8_bytes(bytes, &mut repaired));
        self.bucket.counts.fields_ignored += u64::from(check.ignored.timestamp);
        self.bucket.checks.push(CheckRecord {
            name: text(check.name),
            status: check.status,
            timestamp: check.timestamp.filter(|time| *time != 0).unwrap_or(self.now),
            host: text(host_of(check.host, &enriched, &rules)),
            message: text(check.message),
            tags: sorted_tags(&enriched, &rules),
        });
        self.bucket.counts.texts_repaired += u64::from(repaired > 0);
        self.bucket.counts.checks += 1;
        Ok(())
    }
}

/// The tags of an event or check, those of its origin included.
fn enrich<'a>(rules: &Rules, tags: &'a [u8], claims: &Claims<'_>) -> Result<Enriched<'a>, Fate> {
    let mut enriched = rules.enrich(tags, claims.cardinality_given()).map_err(Fate::Dropped)?;
    rules.add_origin(claims, &mut enriched);
    Ok(enriched)
}

fn host_of<'a>(field: Option<&'a [u8]>, enriched: &'a Enriched<'_>, rules: &'a Rules) -> &'a [u8] {
    let tag = || enriched.host.as_deref();
    field.or_else(tag).unwrap_or(&rules.default_host)
}

fn sorted_tags(enriched: &Enriched<'_>, rules: &Rules) -> Vec<Box<[u8]>> {
    let own = enriched.tags.iter().map(|tag| Box::from(&**tag));
    let mut tags: Vec<Box<[u8]>> = own.chain(rules.common_tags.iter().cloned()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}
