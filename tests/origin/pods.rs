//! Lists of pods in the shape a kubelet gives them.

/// The container of [`web`].
pub const WEB: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
/// The container of [`cron`].
pub const CRON: &str = "9f3b1d0c7a2e4856bd10f2c3a4958677e1d0c9b8a7f6e5d4c3b2a19080706050";
/// A container that no pod has.
pub const STRANGER: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

/// The uid of [`web`].
pub const WEB_UID: &str = "3d274242-8ee0-11e9-a8a6-1e68d864ef1a";

/// A list of these pods.
pub fn list(pods: &[&str]) -> String {
    format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{}},"items":[{}]}}"#,
        pods.join(",")
    )
}

/// A pod of a deployment with one running container `main`.
pub fn web() -> String {
    pod("web-6d4cf56db6-x2x9k", WEB_UID, ("ReplicaSet", "web-6d4cf56db6"), "main", WEB, "blue")
}

/// The same, of another team.
pub fn web_of(team: &str) -> String {
    pod("web-6d4cf56db6-x2x9k", WEB_UID, ("ReplicaSet", "web-6d4cf56db6"), "main", WEB, team)
}

/// A pod of a cron job.
pub fn cron() -> String {
    let uid = "5a1c2b3d-0000-11ee-9c1f-0242ac120002";
    pod("nightly-28391040-abcde", uid, ("Job", "nightly-28391040"), "job", CRON, "red")
}

fn pod(
    name: &str,
    uid: &str,
    owner: (&str, &str),
    container: &str,
    id: &str,
    team: &str,
) -> String {
    let (kind, owner) = owner;
    format!(
        r#"{{
  "metadata": {{
    "name": "{name}", "generateName": "web-6d4cf56db6-", "namespace": "shop", "uid": "{uid}",
    "resourceVersion": "123456", "creationTimestamp": "2026-11-01T08:00:00Z",
    "labels": {{"app": "web", "team": "{team}", "pod-template-hash": "6d4cf56db6",
      "tags.datadoghq.com/env": "prod", "tags.datadoghq.com/service": "shop-web", "tags.datadoghq.com/version": "1.2.3"}},
    "annotations": {{"kubernetes.io/config.seen": "2026-11-01T08:00:00.0Z", "example.com/cost": "c-7"}},
    "ownerReferences": [{{"apiVersion": "apps/v1", "kind": "{kind}", "name": "{owner}", "uid": "1", "controller": true}}],
    "managedFields": [{{"manager": "kube-controller-manager", "fieldsV1": {{"f:metadata": {{}}}}}}]
  }},
  "spec": {{
    "volumes": [{{"name": "t", "projected": {{"sources": [{{"serviceAccountToken": {{"expirationSeconds": 3607}}}}]}}}}],
    "containers": [{{"name": "{container}", "image": "ghcr.io/shop/web:1.2.3", "ports": [{{"containerPort": 8080}}], "resources": {{}}}}],
    "nodeName": "node-1", "restartPolicy": "Always", "tolerations": null
  }},
  "status": {{
    "phase": "Running", "hostIP": "10.0.0.7", "podIP": "10.1.0.9", "qosClass": "BestEffort",
    "conditions": [{{"type": "Ready", "status": "True", "lastProbeTime": null}}],
    "containerStatuses": [{{"name": "{container}", "state": {{"running": {{"startedAt": "2026-11-01T08:00:03Z"}}}},
      "lastState": {{}}, "ready": true, "restartCount": 0, "image": "ghcr.io/shop/web:1.2.3",
      "imageID": "ghcr.io/shop/web@sha256:11aa", "containerID": "containerd://{id}", "started": true}}]
  }}
}}"#
    )
}
