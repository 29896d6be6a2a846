//! Keys of the Agent and its client libraries that do not concern DogStatsD but resemble a key of
//! whippet. Other unknown keys, which resemble none, need no list.

/// Top-level names of `datadog.yaml`, and of `DD_` variables, that are not typing mistakes.
const KNOWN: &[&str] = &[
    "app_key",
    "dogstatsd_args",
    "dogstatsd_host",
    "kubelet_client_crt",
    "kubernetes_http_kubelet_port",
    "kubernetes_node_labels_as_tags",
];

/// True for a known name of the Agent or a client.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::nearest::nearest;

    #[test]
    fn every_entry_would_be_suspected_without_the_list() {
        let mut idle = Vec::new();
        for name in KNOWN {
            let variable = format!("DD_{}", name.to_uppercase());
            let variables: Vec<String> = super::super::all().flat_map(|key| key.env()).collect();
            let near = nearest(name, super::super::all().map(|key| key.name))
                .or_else(|| nearest(&variable, variables.iter().map(String::as_str)));
            if near.is_none() {
                idle.push(*name);
            }
        }
        assert_eq!(idle, [""; 0]);
    }
}
