//! Tags from the origin of a message: which identities count, in which order, up to which
//! cardinality.

use std::borrow::Cow;
use std::sync::Arc;

use super::enriched::Enriched;
use crate::protocol::{self, ExternalData, LocalData};
use crate::tagger::{Cardinality, Identity, Tagger, Tags};

/// How origins become tags. Part of the rules: a reload makes new ones.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// Who knows the tags of workloads.
    pub tagger: Arc<dyn Tagger>,
    /// The level of messages that ask for none (`dogstatsd_tag_cardinality`).
    pub cardinality: Cardinality,
    /// Level `none` removes every origin tag (`dogstatsd_origin_optout_enabled`).
    pub optout: bool,
    /// An entity id replaces the sender's own container (`dogstatsd_entity_id_precedence`).
    pub entity_id_precedence: bool,
    /// Only the first known identity counts, not the tags of all (`origin_detection_unified`).
    pub unified: bool,
}

/// What is claimed about the origin of one message, apart from its tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// The honoured fields of the line.
    pub fields: protocol::OriginFields<'a>,
    /// The sender's container id, by the word of the kernel; empty when there is none.
    pub sender: &'a [u8],
}

impl<'a> Claims<'a> {
    /// Writes the part of a raw key that decides origin tags, replacing what `key` holds: nothing at
    /// all without claims, else the honoured fields with their prefix and the sender, apart by
    /// newlines, which neither holds.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        key.clear();
        let fields = &self.fields;
        for (prefix, field) in [
            (&b"c:"[..], fields.local_data),
            (b"e:", fields.external_data),
            (b"card:", fields.cardinality),
        ] {
            if let Some(field) = field {
                key.extend_from_slice(prefix);
                key.extend_from_slice(field);
                key.push(b'\n');
            }
        }
        key.extend_from_slice(self.sender);
    }

    /// Reads what [`Claims::write_key`] wrote.
    #[must_use]
    pub fn read_key(key: &'a [u8]) -> Self {
        let mut claims = Claims::default();
        let mut rest = key;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let fields = &mut claims.fields;
            match &rest[..at] {
                [b'c', b':', field @ ..] => fields.local_data = Some(field),
                [b'e', b':', field @ ..] => fields.external_data = Some(field),
                [b'c', b'a', b'r', b'd', b':', field @ ..] => fields.cardinality = Some(field),
                _ => {}
            }
            rest = &rest[at + 1..];
        }
        claims.sender = rest;
        claims
    }

    /// Writes the part of a raw key of a line with a time of its own: that of the other lines of the same
    /// bytes, behind a mark that [`Claims::read_key`] passes over and no client can give.
    pub fn mark_timestamped(origin: &[u8], key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(b"T\n");
        key.extend_from_slice(origin);
    }

    /// True when the message has a `card:` field with a value, so that a tag of that meaning is an
    /// ordinary one.
    #[must_use]
    pub fn cardinality_given(&self) -> bool {
        self.cardinality().is_some()
    }

    fn cardinality(&self) -> Option<&'a [u8]> {
        self.fields.cardinality.filter(|word| !word.is_empty())
    }
}

impl OriginRules {
    /// Adds the tags of the message's origin, without those it has and those in `common`.
    pub fn add_tags(&self, claims: &Claims<'_>, common: &[Box<[u8]>], to: &mut Enriched<'_>) {
        let entity_id = to.entity_id.take();
        let cardinality = self.cardinality_of(claims, to.cardinality.as_deref());
        if cardinality == Cardinality::None && self.optout {
            return;
        }
        let entity_id = entity_id.as_deref().filter(|id| !id.is_empty());
        for tags in self.gather(claims, entity_id, cardinality) {
            for tag in tags.iter() {
                let known = to.tags.iter().any(|has| **has == *tag)
                    || common.iter().any(|has| **has == *tag);
                if !known {
                    to.tags.push(Cow::Owned(tag.to_vec()));
                }
            }
        }
    }

    /// The `card:` field, else the tag of that meaning, else what is configured; so is an unknown
    /// word.
    fn cardinality_of(&self, claims: &Claims<'_>, tag: Option<&[u8]>) -> Cardinality {
        let word = claims.cardinality().or(tag);
        match word.and_then(protocol::Cardinality::read) {
            Some(protocol::Cardinality::None) => Cardinality::None,
            Some(protocol::Cardinality::Low) => Cardinality::Low,
            Some(protocol::Cardinality::Orchestrator) => Cardinality::Orchestrator,
            Some(protocol::Cardinality::High) => Cardinality::High,
            None => self.cardinality,
        }
    }

    /// The tags of a message's origin at a cardinality, apart from its own tags.
    #[must_use]
    pub fn tags(&self, claims: &Claims<'_>, cardinality: Cardinality) -> Vec<Tags> {
        self.gather(claims, None, cardinality)
    }

    fn gather(
        &self,
        claims: &Claims<'_>,
        entity_id: Option<&[u8]>,
        cardinality: Cardinality,
    ) -> Vec<Tags> {
        let local = claims.fields.local_data.map(LocalData::read).unwrap_or_default();
        let external = claims.fields.external_data.map(ExternalData::read).unwrap_or_default();
        report_bad_items(&local, &external);
        let sender = Some(claims.sender).filter(|id| !id.is_empty()).map(Identity::Container);
        let client = local.container_id.map(Identity::Container);
        let inode = local.inode.map(Identity::Inode);
        // `none` says that there is no pod; it is still an entity id that was given.
        let pod = entity_id.filter(|id| *id != b"none").map(Identity::Pod);
        let ask = |identity| self.tagger.tags(identity, cardinality);
        if self.unified {
            let place = external.pod_uid.zip(external.container_name).map(|(pod_uid, name)| {
                Identity::PodContainer { pod_uid, name, init: external.init }
            });
            let of_pod = external.pod_uid.map(Identity::Pod);
            let order = [sender, client, inode, place, pod, of_pod];
            return order.into_iter().flatten().find_map(ask).into_iter().collect();
        }
        let replaced = entity_id.is_some() && self.entity_id_precedence;
        // An inode stands in for the id that a client does not know.
        let named = pod.or(client).or(inode);
        let order = [sender.filter(|_| !replaced), named];
        order.into_iter().flatten().filter_map(ask).collect()
    }
}

/// A broken item costs itself alone; the line is kept.
///
/// Differs: the Agent logs an error each time; any sender could fill a disk with that.
fn report_bad_items(local: &LocalData<'_>, external: &ExternalData<'_>) {
    if local.bad_inode {
        tracing::debug!(target: "context", "c: the inode of an in- item is not a number; item skipped");
    }
    if external.bad_init {
        tracing::debug!(target: "context", "e: the word of an it- item is not a boolean; item skipped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Rules;
    use crate::protocol::OriginFields;
    use crate::tagger::WorkloadBuilder;

    /// Knows the workloads whose names begin with `k`; each has a tag per level.
    #[derive(Debug)]
    struct Known;

    impl Tagger for Known {
        fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (kind, name) = match identity {
                Identity::Container(id) => ("container", text(id)),
                Identity::Inode(inode) => ("inode", format!("k{inode}")),
                Identity::PodContainer { pod_uid, name, init } => {
                    ("place", format!("{}/{}/{init}", text(pod_uid), text(name)))
                }
                Identity::Pod(uid) => ("pod", text(uid)),
            };
            let mut tags = WorkloadBuilder::default();
            tags.add(Cardinality::Low, kind, &name)
                .add(Cardinality::Low, "shared", "1")
                .add(Cardinality::Orchestrator, "orchestrator", &name)
                .add(Cardinality::High, "high", &name);
            name.starts_with('k').then(|| Arc::new(tags.build()).up_to(cardinality))
        }

        fn generation(&self) -> u64 {
            0
        }
    }

    fn rules() -> OriginRules {
        OriginRules {
            tagger: Arc::new(Known),
            cardinality: Cardinality::Low,
            optout: true,
            entity_id_precedence: false,
            unified: false,
        }
    }

    /// `sender | fields | tags`, fields as on the wire.
    #[track_caller]
    fn adds(origin: &OriginRules, message: &str, expect: &str) {
        let mut parts = message.split('|').map(str::trim);
        let sender = parts.next().unwrap_or_default();
        let mut fields = OriginFields::default();
        let mut tags = "";
        for part in parts {
            if let Some(field) = part.strip_prefix("c:") {
                fields.local_data = Some(field.as_bytes());
            } else if let Some(field) = part.strip_prefix("e:") {
                fields.external_data = Some(field.as_bytes());
            } else if let Some(field) = part.strip_prefix("card:") {
                fields.cardinality = Some(field.as_bytes());
            } else {
                tags = part.trim_start_matches('#');
            }
        }
        let claims = Claims { fields, sender: sender.as_bytes() };
        let common = vec![Box::from(&b"common:1"[..])];
        let rules = Rules { common_tags: common.clone(), ..Rules::default() };
        let mut enriched = rules.enrich(tags.as_bytes(), claims.cardinality_given()).unwrap();
        origin.add_tags(&claims, &common, &mut enriched);
        let got: Vec<_> = enriched.tags.iter().map(|tag| String::from_utf8_lossy(tag)).collect();
        assert_eq!(got.join(" "), expect, "{message}");
    }

    #[test]
    fn the_older_rules_join_sender_and_client() {
        let rules = rules();
        adds(&rules, "", "");
        adds(&rules, "k1", "container:k1 shared:1");
        adds(&rules, "x1", "");
        adds(&rules, "k1|c:k2", "container:k1 shared:1 container:k2");
        adds(&rules, "k1|c:ci-k1", "container:k1 shared:1");
        adds(&rules, "|c:ci-k2,in-5", "container:k2 shared:1");
        adds(&rules, "|c:in-5", "inode:k5 shared:1");
        adds(&rules, "|c:in-zz", "");
        adds(&rules, "k1|#dd.internal.entity_id:kp", "container:k1 shared:1 pod:kp");
        adds(&rules, "k1|c:k2|#dd.internal.entity_id:kp", "container:k1 shared:1 pod:kp");
        adds(&rules, "k1|c:k2|#dd.internal.entity_id:none", "container:k1 shared:1 container:k2");
        adds(&rules, "k1|#dd.internal.entity_id:", "container:k1 shared:1");
        adds(&rules, "|e:cn-c,pu-kp", "");
        adds(&rules, "k1|#a,shared:1", "a shared:1 container:k1");
    }

    #[test]
    fn an_entity_id_can_take_the_place_of_the_sender() {
        let rules = OriginRules { entity_id_precedence: true, ..rules() };
        adds(&rules, "k1", "container:k1 shared:1");
        adds(&rules, "k1|#dd.internal.entity_id:kp", "pod:kp shared:1");
        adds(&rules, "k1|#dd.internal.entity_id:none", "");
        adds(&rules, "k1|c:k2|#dd.internal.entity_id:none", "container:k2 shared:1");
        adds(&rules, "k1|#dd.internal.entity_id:", "container:k1 shared:1");
    }

    #[test]
    fn the_unified_rules_take_the_first_that_is_known() {
        let rules = OriginRules { unified: true, ..rules() };
        let all = "c:ci-k2,in-3|e:cn-c,pu-k4|#dd.internal.entity_id:k5";
        adds(&rules, &format!("k1|{all}"), "container:k1 shared:1");
        adds(&rules, &format!("x1|{all}"), "container:k2 shared:1");
        adds(&rules, "|c:ci-x2,in-3|e:cn-c,pu-k4|#dd.internal.entity_id:k5", "inode:k3 shared:1");
        adds(
            &rules,
            "|c:ci-x2|e:cn-c,pu-k4|#dd.internal.entity_id:k5",
            "place:k4/c/false shared:1",
        );
        adds(&rules, "|e:cn-c,pu-k4,it-true", "place:k4/c/true shared:1");
        adds(&rules, "|e:pu-k4|#dd.internal.entity_id:k5", "pod:k5 shared:1");
        adds(&rules, "|e:pu-k4|#dd.internal.entity_id:none", "pod:k4 shared:1");
        adds(&rules, "|e:cn-c,pu-x4|#dd.internal.entity_id:x5", "");
    }

    #[test]
    fn the_field_wins_over_the_tag_and_both_over_the_default() {
        let rules = rules();
        let high = "container:k1 shared:1 orchestrator:k1 high:k1";
        adds(&rules, "k1|card:high", high);
        adds(&rules, "k1|card:HIGH", high);
        adds(&rules, "k1|card:orchestrator", "container:k1 shared:1 orchestrator:k1");
        adds(&rules, "k1|#dd.internal.card:high", high);
        adds(&rules, "k1|card:high|#dd.internal.card:low", &format!("dd.internal.card:low {high}"));
        adds(&rules, "k1|card:|#dd.internal.card:high", high);
        adds(&rules, "k1|card:lots", "container:k1 shared:1");
        adds(&rules, "k1|#dd.internal.card:lots", "container:k1 shared:1");
        let default = OriginRules { cardinality: Cardinality::High, ..rules.clone() };
        adds(&default, "k1", high);
        adds(&default, "k1|card:lots", high);
        adds(&default, "k1|card:low", "container:k1 shared:1");
    }

    #[test]
    fn none_leaves_only_the_tags_of_the_message() {
        for optout in [true, false] {
            let rules = OriginRules { optout, ..rules() };
            adds(&rules, "k1|card:none|#a", "a");
            adds(&rules, "k1|c:k2|#a,dd.internal.card:none,dd.internal.entity_id:kp", "a");
        }
    }

    #[test]
    fn what_is_common_to_all_is_not_repeated() {
        #[derive(Debug)]
        struct Common;
        impl Tagger for Common {
            fn tags(&self, _: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
                let mut tags = WorkloadBuilder::default();
                tags.add(Cardinality::Low, "common", "1").add(Cardinality::Low, "own", "1");
                Some(Arc::new(tags.build()).up_to(cardinality))
            }
            fn generation(&self) -> u64 {
                0
            }
        }
        adds(&OriginRules { tagger: Arc::new(Common), ..rules() }, "k1", "own:1");
    }

    #[test]
    fn a_key_tells_an_empty_field_from_none_and_reads_back() {
        let some = |text: &'static str| Some(text.as_bytes());
        let all = [None, some(""), some("x"), some("card:high")];
        let mut keys = std::collections::HashSet::new();
        let mut key = Vec::new();
        for local_data in all {
            for external_data in all {
                for cardinality in all {
                    for sender in ["", "x", "c:x"] {
                        let fields = OriginFields { local_data, external_data, cardinality };
                        let claims = Claims { fields, sender: sender.as_bytes() };
                        claims.write_key(&mut key);
                        assert_eq!(Claims::read_key(&key), claims);
                        assert!(keys.insert(key.clone()), "{claims:?}");
                    }
                }
            }
        }
        for key in keys.clone() {
            let mut marked = Vec::new();
            Claims::mark_timestamped(&key, &mut marked);
            assert_eq!(Claims::read_key(&marked), Claims::read_key(&key));
            assert!(keys.insert(marked), "no line without a time has this key");
        }
        Claims::default().write_key(&mut key);
        assert!(key.is_empty());
    }
}
