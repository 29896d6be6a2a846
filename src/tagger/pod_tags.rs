//! The tags of a pod and of its containers, named and levelled as the Agent does it.

use super::Cardinality::{High, Low, Orchestrator};
use super::names::{cron_job_of_job, deployment_of_replica_set, image};
use super::pattern::Patterns;
use super::pods::{Container, ContainerStatus, Owner, Pod};
use super::workload::{Workload, WorkloadBuilder};

/// Labels that Kubernetes recommends, and their tags.
const APP_LABELS: [(&str, &str); 6] = [
    ("app.kubernetes.io/name", "kube_app_name"),
    ("app.kubernetes.io/instance", "kube_app_instance"),
    ("app.kubernetes.io/version", "kube_app_version"),
    ("app.kubernetes.io/component", "kube_app_component"),
    ("app.kubernetes.io/part-of", "kube_app_part_of"),
    ("app.kubernetes.io/managed-by", "kube_app_managed_by"),
];

/// Labels below this prefix name the service for all telemetry: `tags.datadoghq.com/env`, or
/// `tags.datadoghq.com/CONTAINER.env` for one container.
const STANDARD_PREFIX: &str = "tags.datadoghq.com/";
const STANDARD: [&str; 3] = ["env", "service", "version"];

/// What configuration adds to the tags of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    cluster_name: String,
    labels: Patterns,
    annotations: Patterns,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodContainer {
    pub id: String,
    pub name: String,
    pub init: bool,
    pub workload: Workload,
}

impl Extraction {
    /// `cluster_name` may be empty; labels and annotations are maps to tag keys.
    #[must_use]
    pub fn new(
        cluster_name: &str,
        labels: &[(String, String)],
        annotations: &[(String, String)],
    ) -> Self {
        Extraction {
            cluster_name: cluster_name.to_owned(),
            labels: Patterns::new(labels),
            annotations: Patterns::new(annotations),
        }
    }

    /// The tags of the pod, and of each of its containers that has started.
    pub(super) fn of(&self, pod: &Pod) -> (Workload, Vec<PodContainer>) {
        let builder = self.pod(pod);
        let (spec, status) = (&pod.spec, &pod.status);
        let groups = [
            (&spec.containers, &status.container_statuses, false),
            (&spec.init_containers, &status.init_container_statuses, true),
            (&spec.ephemeral_containers, &status.ephemeral_container_statuses, false),
        ];
        let mut containers = Vec::new();
        for (specs, statuses, init) in groups {
            for status in statuses.iter().filter(|status| !status.id().is_empty()) {
                let spec = specs.iter().find(|spec| spec.name == status.name);
                containers.push(PodContainer {
                    id: status.id().to_owned(),
                    name: status.name.clone(),
                    init,
                    workload: container(builder.clone(), pod, spec, status),
                });
            }
        }
        (builder.build(), containers)
    }

    fn pod(&self, pod: &Pod) -> WorkloadBuilder {
        let metadata = &pod.metadata;
        let mut tags = WorkloadBuilder::default();
        tags.add(Orchestrator, "pod_name", &metadata.name)
            .add(Low, "kube_namespace", &metadata.namespace)
            .add(Low, "kube_cluster_name", &self.cluster_name)
            .add(Low, "pod_phase", &pod.status.phase.to_lowercase())
            .add(Low, "kube_qos", &pod.status.qos_class)
            .add(Low, "kube_priority_class", &pod.spec.priority_class_name);
        for owner in &metadata.owner_references {
            owned(&mut tags, owner);
        }
        for (label, value) in &metadata.labels {
            if let Some((_, tag)) = APP_LABELS.iter().find(|(known, _)| known == label) {
                tags.add(Low, tag, value);
            }
            if let Some(standard) = label.strip_prefix(STANDARD_PREFIX)
                && STANDARD.contains(&standard)
            {
                tags.add(Low, standard, value);
            }
            self.labels.apply(label, value, &mut tags);
        }
        for (annotation, value) in &metadata.annotations {
            self.annotations.apply(annotation, value, &mut tags);
        }
        tags
    }
}

fn owned(tags: &mut WorkloadBuilder, owner: &Owner) {
    tags.add(Orchestrator, "kube_ownerref_name", &owner.name);
    tags.add(Low, "kube_ownerref_kind", &owner.kind.to_lowercase());
    match owner.kind.as_str() {
        "Deployment" => tags.add(Low, "kube_deployment", &owner.name),
        "DaemonSet" => tags.add(Low, "kube_daemon_set", &owner.name),
        "StatefulSet" => tags.add(Low, "kube_stateful_set", &owner.name),
        "ReplicationController" => tags.add(Low, "kube_replication_controller", &owner.name),
        "ReplicaSet" => {
            let deployment = deployment_of_replica_set(&owner.name).unwrap_or_default();
            tags.add(Low, "kube_deployment", deployment).add(Low, "kube_replica_set", &owner.name)
        }
        "Job" => match cron_job_of_job(&owner.name) {
            // The jobs of a cron job come and go, one name each.
            Some(cron_job) => {
                tags.add(Low, "kube_cronjob", cron_job).add(Orchestrator, "kube_job", &owner.name)
            }
            None => tags.add(Low, "kube_job", &owner.name),
        },
        _ => tags,
    };
}

fn container(
    mut tags: WorkloadBuilder,
    pod: &Pod,
    spec: Option<&Container>,
    status: &ContainerStatus,
) -> Workload {
    let metadata = &pod.metadata;
    tags.add(Low, "kube_container_name", &status.name)
        .add(Low, "image_id", &status.image_id)
        .add(High, "container_id", status.id())
        .add(High, "container_name", &status.name)
        .add(High, "display_container_name", &format!("{}_{}", status.name, metadata.name));
    // What was asked for names the image better than what the runtime reports: that may be a digest.
    let asked = spec.and_then(|spec| image(&spec.image));
    if let Some(image) = asked.or_else(|| image(&status.image)) {
        tags.add(Low, "image_name", image.name).add(Low, "short_image", image.short).add(
            Low,
            "image_tag",
            image.tag,
        );
    }
    for standard in STANDARD {
        let label = format!("{STANDARD_PREFIX}{}.{standard}", status.name);
        if let Some(value) = metadata.labels.get(&label) {
            tags.add(Low, standard, value);
        }
    }
    tags.build()
}

#[cfg(test)]
mod tests {
    use super::super::{Cardinality, PodList};
    use super::*;
    use std::sync::Arc;

    fn text(workload: &Workload, level: Cardinality) -> String {
        let tags = Arc::new(workload.clone()).up_to(level);
        tags.iter()
            .map(|tag| String::from_utf8_lossy(tag).into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn pod(owner: (&str, &str)) -> Pod {
        let json = format!(
            r#"{{"kind":"PodList","items":[{{"metadata":{{"name":"web-1","namespace":"shop","uid":"u1",
            "labels":{{"app":"web","app.kubernetes.io/name":"shop-web","tags.datadoghq.com/env":"prod",
              "tags.datadoghq.com/service":"web","tags.datadoghq.com/main.version":"7","tags.datadoghq.com/zz":"no"}},
            "annotations":{{"team":"blue"}},
            "ownerReferences":[{{"kind":"{}","name":"{}","controller":true}}]}},
            "spec":{{"containers":[{{"name":"main","image":"ghcr.io/shop/web:1.2"}},{{"name":"side","image":"sha256:aa"}}],
              "initContainers":[{{"name":"main","image":"busybox"}}]}},
            "status":{{"phase":"Running","qosClass":"Burstable","containerStatuses":[
              {{"name":"main","containerID":"containerd://c1","image":"x","imageID":"ghcr.io/shop/web@sha256:11"}},
              {{"name":"side","containerID":"containerd://c2","image":"envoy:2"}},
              {{"name":"late"}}],
              "initContainerStatuses":[{{"name":"main","containerID":"containerd://c0"}}]}}}}]}}"#,
            owner.0, owner.1
        );
        PodList::read(json.as_bytes()).unwrap().items.remove(0)
    }

    fn extraction() -> Extraction {
        let map = |key: &str, tag: &str| [(key.to_owned(), tag.to_owned())];
        Extraction::new("east", &map("app", "kube_app"), &map("team", "+team"))
    }

    const POD_LOW: &str = "env:prod kube_app:web kube_app_name:shop-web kube_cluster_name:east \
        kube_daemon_set:ds kube_namespace:shop kube_ownerref_kind:daemonset kube_qos:Burstable \
        pod_phase:running service:web";

    #[test]
    fn a_pod_has_tags_of_three_levels() {
        let (pod, _) = extraction().of(&pod(("DaemonSet", "ds")));
        assert_eq!(text(&pod, Low), POD_LOW);
        let orchestrator = format!("{POD_LOW} kube_ownerref_name:ds pod_name:web-1");
        assert_eq!(text(&pod, Orchestrator), orchestrator);
        assert_eq!(text(&pod, High), format!("{orchestrator} team:blue"));
        assert_eq!(text(&pod, Cardinality::None), "");
    }

    #[test]
    fn a_container_adds_its_own_to_those_of_its_pod() {
        let (_, containers) = extraction().of(&pod(("DaemonSet", "ds")));
        let named: Vec<_> = containers
            .iter()
            .map(|container| (container.id.as_str(), container.name.as_str(), container.init))
            .collect();
        assert_eq!(named, [("c1", "main", false), ("c2", "side", false), ("c0", "main", true)]);
        let low = text(&containers[0].workload, Low);
        for tag in [
            "kube_container_name:main",
            "image_name:ghcr.io/shop/web",
            "short_image:web",
            "image_tag:1.2",
            "image_id:ghcr.io/shop/web@sha256:11",
            "version:7",
            "kube_namespace:shop",
        ] {
            assert!(low.split(' ').any(|has| has == tag), "{tag} in {low}");
        }
        assert!(!low.contains("container_id") && !low.contains("pod_name"), "{low}");
        let high = text(&containers[0].workload, High);
        for tag in ["container_id:c1", "display_container_name:main_web-1", "container_name:main"] {
            assert!(high.split(' ').any(|has| has == tag), "{tag} in {high}");
        }
        let side = text(&containers[1].workload, Low);
        assert!(side.contains("image_name:envoy") && !side.contains("version:"), "{side}");
    }

    #[track_caller]
    fn owner(kind: &str, name: &str, low: &[&str], orchestrator: &[&str]) {
        let (pod, _) = extraction().of(&pod((kind, name)));
        let (at_low, above) = (text(&pod, Low), text(&pod, Orchestrator));
        let workload = |text: &str| -> Vec<String> {
            let owners = [
                "kube_deployment",
                "kube_replica",
                "kube_stateful",
                "kube_daemon",
                "kube_job",
                "kube_cron",
            ];
            let of_owner = |tag: &&str| owners.iter().any(|owner| tag.starts_with(owner));
            text.split(' ').filter(of_owner).map(str::to_owned).collect()
        };
        assert_eq!(workload(&at_low), low, "{kind} {name}");
        assert_eq!(workload(&above)[low.len()..], *orchestrator, "{kind} {name}");
    }

    #[test]
    fn owners_name_the_workload() {
        owner(
            "ReplicaSet",
            "web-6d4cf56db6",
            &["kube_deployment:web", "kube_replica_set:web-6d4cf56db6"],
            &[],
        );
        owner("ReplicaSet", "alone", &["kube_replica_set:alone"], &[]);
        owner("Deployment", "web", &["kube_deployment:web"], &[]);
        owner("StatefulSet", "db", &["kube_stateful_set:db"], &[]);
        owner("DaemonSet", "ds", &["kube_daemon_set:ds"], &[]);
        owner("ReplicationController", "rc", &["kube_replication_controller:rc"], &[]);
        owner("Job", "once", &["kube_job:once"], &[]);
        owner("Job", "nightly-28391040", &["kube_cronjob:nightly"], &["kube_job:nightly-28391040"]);
        owner("Node", "n1", &[], &[]);
    }
}
