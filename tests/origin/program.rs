//! The real program, flushing every second as JSON lines on its standard output.

use std::collections::BTreeSet;

use serde_json::Value;

use super::kubelet::Kubelet;
use crate::support::program::{Program, Setup, until};

/// Without a kubelet, with control groups of its own.
pub fn setup() -> Setup {
    let setup = Setup::bare();
    let groups = setup.path("cgroup");
    std::fs::create_dir_all(&groups).expect("a writable folder");
    setup
        .set("output", "jsonl")
        .set("interval", 1)
        .set("hostname", "node-1")
        .set("container_cgroup_root", groups.display())
}

/// What senders and their pods are known by.
pub trait Origins {
    /// Reads the pods of that kubelet, trusting it; its first answer is waited for.
    fn with(self, kubelet: &Kubelet) -> Self;
    /// As [`Origins::with`], waiting for nothing.
    fn reading(self, kubelet: &Kubelet) -> Self;
    /// Looks up senders in a process file system where this test runs in that control group.
    fn detecting(self, cgroup: &str) -> Self;
}

impl Origins for Setup {
    fn with(self, kubelet: &Kubelet) -> Self {
        self.reading(kubelet).waits_for("pods known")
    }

    fn reading(self, kubelet: &Kubelet) -> Self {
        let settings = kubelet.settings(self.path("d.sock").parent().expect("its folder"));
        let (token, ca) = (settings.token_path.expect("set"), settings.ca_path.expect("set"));
        self.set("kubernetes_kubelet_host", "localhost")
            .set("kubernetes_https_kubelet_port", kubelet.port)
            .set("kubelet_auth_token_path", token.display())
            .set("kubelet_client_ca", ca.display())
    }

    fn detecting(self, cgroup: &str) -> Self {
        let root = self.path("proc");
        let own = root.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).expect("a writable folder");
        std::fs::write(own.join("cgroup"), cgroup).expect("a writable folder");
        self.set("dogstatsd_origin_detection", true).set("container_proc_root", root.display())
    }
}

/// What it printed as posted.
pub trait Posted {
    /// Waits for a series, event or check of this name and gives its tags.
    fn tags(&self, name: &str) -> Tags;
    /// Every series of this name so far: its second, value and tags.
    fn series(&self, name: &str) -> Vec<(u64, f64, Tags)>;
}

impl Posted for Program {
    #[track_caller]
    fn tags(&self, name: &str) -> Tags {
        until(name, || {
            self.printed().lines().find_map(|line| posted(line, name)).as_ref().map(tags_of)
        })
    }

    fn series(&self, name: &str) -> Vec<(u64, f64, Tags)> {
        let point = |value: &Value| {
            let point = &value["points"][0];
            (point[0].as_u64().expect("a second"), point[1].as_f64().expect("a value"))
        };
        let of = |value: Value| (point(&value).0, point(&value).1, tags_of(&value));
        self.printed().lines().filter_map(|line| posted(line, name)).map(of).collect()
    }
}

fn posted(line: &str, name: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    ["metric", "title", "name"].iter().any(|field| value[field] == name).then_some(value)
}

fn tags_of(value: &Value) -> Tags {
    let tags = value["tags"].as_array().expect("a list of tags");
    Tags(tags.iter().map(|tag| tag.as_str().expect("text").to_owned()).collect())
}

/// A set of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(BTreeSet<String>);

impl Tags {
    pub fn has(&self, tag: &str) -> bool {
        self.0.contains(tag)
    }

    #[track_caller]
    pub fn have(&self, tags: &[&str]) -> &Self {
        for tag in tags {
            assert!(self.0.contains(*tag), "{tag} in {:?}", self.0);
        }
        self
    }

    /// No tag has one of these keys.
    #[track_caller]
    pub fn lack(&self, keys: &[&str]) -> &Self {
        for tag in &self.0 {
            let key = tag.split(':').next().unwrap_or_default();
            assert!(!keys.contains(&key), "{tag} in {:?}", self.0);
        }
        self
    }

    #[track_caller]
    pub fn are(&self, tags: &[&str]) {
        let tags: BTreeSet<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(self.0, tags);
    }
}
