//! Tells requests that a browser sends on behalf of another site.
//!
//! A page from anywhere can make its reader's browser talk to a server on the reader's machine. A name
//! that resolves to this machine must be one that the node knows as its own, and a request that was
//! made by another site's page is refused.

use super::{Response, problem};

/// The names that a node answers to.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Names beside `localhost` and addresses, in small letters.
    pub names: Vec<String>,
}

/// The refusal of a request from a stranger; nothing if it is welcome.
pub fn check(
    hosts: &Hosts,
    host: Option<&str>,
    origin: Option<&str>,
    fetch_site: Option<&str>,
) -> Option<Response> {
    let host = host.unwrap_or_default();
    if !hosts.knows(host) {
        let detail = "the node does not go by the name in `Host`; give it one with `--host-name`";
        return Some(problem(421, "unknown_host", detail));
    }
    check_site(host, origin, fetch_site)
}

/// The same where it does not matter what the node is called, since who asks shows that they were sent.
pub fn check_site(host: &str, origin: Option<&str>, fetch_site: Option<&str>) -> Option<Response> {
    let foreign = origin.is_some_and(|origin| !is_of(origin, host));
    if foreign || fetch_site.is_some_and(|site| site == "cross-site") {
        let detail = "requests on behalf of other sites are not taken";
        return Some(problem(403, "foreign_origin", detail));
    }
    None
}

impl Hosts {
    /// Whether a `Host` header names the node. An address cannot be made to point elsewhere, so any is.
    fn knows(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        name.is_empty()
            || name == "localhost"
            || name.parse::<std::net::IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

/// Whether an origin is a page of the node itself.
fn is_of(origin: &str, host: &str) -> bool {
    let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    site.is_some_and(|site| site.eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told() {
        let hosts = Hosts { names: vec!["db.example".to_owned()] };
        let status = |host, origin, site| check(&hosts, host, origin, site).map(|r| r.status);
        for host in
            ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "DB.example", ""]
        {
            assert_eq!(status(Some(host), None, None), None, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip"]
        {
            assert_eq!(status(Some(host), None, None), Some(421), "{host}");
        }
        let own = Some("localhost:8080");
        assert_eq!(status(own, Some("http://localhost:8080"), Some("same-origin")), None);
        assert_eq!(status(own, Some("http://localhost:9090"), None), Some(403));
        assert_eq!(status(own, Some("null"), None), Some(403));
        assert_eq!(status(own, None, Some("cross-site")), Some(403));
        assert_eq!(status(own, None, Some("none")), None);
    }
}
