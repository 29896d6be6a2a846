//! The answer of a kubelet's `/pods`, as far as tags come from it. Everything else is skipped.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The pods of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PodList {
    /// An answer that is not a list of pods must not look like an empty node.
    kind: String,
    /// Null on a node without pods.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) items: Vec<Pod>,
}

impl PodList {
    /// Reads the JSON text.
    ///
    /// # Errors
    /// When the text is not a pod list.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let list: PodList = serde_json::from_slice(json)?;
        if list.kind != "PodList" {
            return Err(serde_json::Error::custom(format!("kind is {:?}, not PodList", list.kind)));
        }
        Ok(list)
    }

    /// The number of pods.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True for a node without pods.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Pod {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub kind: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub priority_class_name: String,
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub name: String,
    pub image: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub phase: String,
    pub qos_class: String,
    #[serde(deserialize_with = "or_default")]
    pub container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    pub init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    pub name: String,
    pub image: String,
    #[serde(rename = "imageID")]
    pub image_id: String,
    #[serde(rename = "containerID")]
    container_id: String,
}

impl ContainerStatus {
    /// The id behind the runtime's name (`containerd://…`); empty until the container has started.
    pub fn id(&self) -> &str {
        self.container_id.split_once("://").map_or(&self.container_id, |(_, id)| id)
    }
}

/// Go writes empty lists and maps as null.
fn or_default<'d, D: Deserializer<'d>, T: Default + Deserialize<'d>>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_node_is_a_list_and_anything_else_is_none() {
        for empty in [
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}"#,
            r#"{"kind":"PodList","items":[]}"#,
            r#"{"kind":"PodList"}"#,
        ] {
            assert!(PodList::read(empty.as_bytes()).unwrap().is_empty(), "{empty}");
        }
        for other in [r#"{"kind":"Status","status":"Failure"}"#, "{}", "[]", "Unauthorized", ""] {
            assert!(PodList::read(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn nulls_and_unknown_fields_are_no_trouble() {
        let json = r#"{"kind":"PodList","items":[{"metadata":{"name":"p","uid":"u","labels":null,
            "ownerReferences":null,"zz":1},"spec":{"containers":null},"status":{"containerStatuses":
            [{"name":"c","containerID":"containerd://abc","image":"i","imageID":"d","ready":true},
             {"name":"waiting","state":{"waiting":{}}}]}}]}"#;
        let list = PodList::read(json.as_bytes()).unwrap();
        let statuses = &list.items[0].status.container_statuses;
        assert_eq!((list.len(), statuses[0].id(), statuses[1].id()), (1, "abc", ""));
    }
}
