//! Which proxy a base URL is reached through: configuration first, then the environment.

use super::endpoint::host_of;
use std::net::IpAddr;

/// Metadata services of clouds; never behind a proxy.
const METADATA_HOSTS: [&str; 2] = ["169.254.169.254", "100.100.100.200"];

/// Proxies and who is reached without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `proxy.https`, for https URLs; may hold user and password.
    pub https: String,
    /// `proxy.http`, for http URLs.
    pub http: String,
    /// `proxy.no_proxy`: hosts, or host:port.
    pub no_proxy: Vec<String>,
    /// `no_proxy_nonexact_match`: entries match as domain suffix, address block or `*` too.
    pub nonexact_match: bool,
}

impl ProxySettings {
    /// Fills what is not configured from `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and their
    /// lower-case forms, which `variable` looks up.
    #[must_use]
    pub fn or_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
            set(name).or_else(|| set(&name.to_ascii_lowercase()))
        };
        if self.https.is_empty() {
            self.https = either("HTTPS_PROXY").unwrap_or_default();
        }
        if self.http.is_empty() {
            self.http = either("HTTP_PROXY").unwrap_or_default();
        }
        if self.no_proxy.is_empty() {
            let list = either("NO_PROXY").unwrap_or_default();
            self.no_proxy = list.split(',').map(|entry| entry.trim().to_owned()).collect();
            self.no_proxy.retain(|entry| !entry.is_empty());
        }
        self
    }

    /// The proxy for a base URL, none when it is reached directly.
    #[must_use]
    pub fn proxy_for(&self, base: &str) -> Option<&str> {
        let is_https = base.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let proxy = if is_https { self.https.trim() } else { self.http.trim() };
        if proxy.is_empty() || self.is_exempt(base, is_https) { None } else { Some(proxy) }
    }

    fn is_exempt(&self, base: &str, is_https: bool) -> bool {
        let host = host_of(base).to_ascii_lowercase();
        if METADATA_HOSTS.contains(&host.as_str()) {
            return true;
        }
        let port = port_of(base).unwrap_or(if is_https { "443" } else { "80" });
        let with_port = format!("{host}:{port}");
        self.no_proxy.iter().any(|entry| {
            let entry = entry.trim().to_ascii_lowercase();
            entry == host || entry == with_port || (self.nonexact_match && covers(&entry, &host))
        })
    }
}

fn port_of(base: &str) -> Option<&str> {
    let authority = base.split_once("://")?.1.split('/').next()?;
    let after_host = authority.rsplit(['@', ']']).next()?;
    after_host.split_once(':').map(|(_, port)| port)
}

/// Non-exact matching: `*`, a domain (`corp`, `.corp`), an address block (`10.0.0.0/8`).
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (network.parse(), bits.parse(), host.parse()) {
            (Ok(network), Ok(bits), Ok(address)) => in_block(network, bits, address),
            _ => false,
        };
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    !domain.is_empty()
        && (host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

fn in_block(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => (u128::from(n.to_bits()), u128::from(a.to_bits()), 32),
        (IpAddr::V6(n), IpAddr::V6(a)) => (n.to_bits(), a.to_bits(), 128),
        _ => return false,
    };
    // A shift by the full width is undefined for u128, so a block of no bits is a case of its own.
    bits == 0 || (bits <= width && (network ^ address) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn goes(no_proxy: &str, nonexact_match: bool, base: &str, proxy: Option<&str>) {
        let settings = ProxySettings {
            https: "http://secure:3128".to_owned(),
            http: "http://plain:3128".to_owned(),
            no_proxy: no_proxy.split(' ').map(str::to_owned).collect(),
            nonexact_match,
        };
        assert_eq!(settings.proxy_for(base), proxy, "{no_proxy:?} {base}");
    }

    #[test]
    fn exceptions_are_exact_unless_configured_otherwise() {
        let (https, http) = (Some("http://secure:3128"), Some("http://plain:3128"));
        goes("", false, "https://api.datadoghq.com", https);
        goes("", false, "http://intake.corp:8080", http);
        goes("", false, "http://169.254.169.254", None);
        goes("intake.corp", false, "http://intake.corp:8080", None);
        goes("other INTAKE.corp:8080", false, "http://intake.corp:8080", None);
        goes("intake.corp:443", false, "https://intake.corp/dd", None);
        goes("intake.corp:81", false, "http://intake.corp:8080", http);
        goes("corp", false, "http://intake.corp:8080", http);
        goes("corp", true, "http://intake.corp:8080", None);
        goes(".corp", true, "http://intake.corp", None);
        goes("orp", true, "http://intake.corp", http);
        goes("10.0.0.0/8", true, "http://10.9.8.7:1", None);
        goes("10.0.0.0/8", true, "http://11.9.8.7:1", http);
        goes("10.0.0.0/8", false, "http://10.9.8.7:1", http);
        goes("10.0.0.0/99", true, "http://10.9.8.7:1", http);
        goes("fd00::/8", true, "http://[fd12::1]:1", None);
        goes("*", true, "https://api.datadoghq.com", None);
    }

    #[test]
    fn the_environment_fills_only_what_is_not_configured() {
        let variables = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://env-secure".to_owned()),
            "http_proxy" => Some("http://env-plain".to_owned()),
            "NO_PROXY" => Some("a, b,".to_owned()),
            _ => None,
        };
        let configured =
            ProxySettings { https: "http://mine".to_owned(), ..ProxySettings::default() };
        let settings = configured.or_environment(variables);
        assert_eq!(settings.https, "http://mine");
        assert_eq!(settings.http, "http://env-plain");
        assert_eq!(settings.no_proxy, ["a", "b"]);
    }
}
