//! The base URL of a server that is not AWS.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{NameError, shown};

/// Where a server of one's own answers: scheme, host, port, and the path that all its addresses begin with. No credentials, no
/// query, no fragment; a slash at the end does not matter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    /// `scheme://host[:port]`
    origin: Arc<str>,
    /// Empty, or beginning with a slash and not ending with one.
    path: Arc<str>,
}

impl ServerUrl {
    /// Checks `text` and takes it as a base URL.
    ///
    /// # Errors
    /// Says what a base URL is.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let refused = || NameError {
            what: "server URL",
            // Whatever stands before an @ may be a password.
            shown: if text.contains('@') { "(with a user name, not shown)".to_owned() } else { shown(text) },
            rule: "it must look like https://chef.example.com/organizations/web: scheme, host and path, without user name, query or fragment",
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let plain_path = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b));
        let odd_segment = path.split('/').any(|segment| matches!(segment, "." | ".."));
        if !matches!(scheme, "https" | "http") || text.len() > 2048 || !is_authority(authority) || !plain_path || odd_segment {
            return Err(refused());
        }
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let path: String = segments.flat_map(|segment| ["/", segment]).collect();
        Ok(Self { origin: format!("{scheme}://{}", authority.to_ascii_lowercase()).into(), path: path.into() })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path that all addresses begin with: empty, or with a slash at its beginning and none at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is without TLS and leaves this machine: for those only who say that this is meant.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.origin.starts_with("http://") && !is_loopback(self.host())
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.origin.split_once("://").map_or("", |(_, authority)| authority);
        host_and_port(authority).map_or("", |(host, _)| host)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host without brackets, and port.
fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inside) = authority.strip_prefix('[') {
        let (host, rest) = inside.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some((host, port));
    }
    Some(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn is_authority(authority: &str) -> bool {
    let Some((host, port)) = host_and_port(authority) else { return false };
    let good_host = if authority.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) && !host.starts_with('.')
    };
    good_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Only addresses that cannot leave the machine, and `localhost`, which by RFC 6761 may not either.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_do_not_matter() {
        for text in ["https://Chef.example.com/organizations/web", "https://chef.example.com//organizations/web/"] {
            let url = ServerUrl::new(text).unwrap();
            assert_eq!((url.origin(), url.path()), ("https://chef.example.com", "/organizations/web"), "{text}");
            assert_eq!(url.to_string(), "https://chef.example.com/organizations/web");
        }
        assert_eq!(ServerUrl::new("https://[::1]:8140").unwrap().host(), "::1");
        assert_eq!(ServerUrl::new("https://chef:443/").unwrap().path(), "");
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for bad in [
            "",
            "chef.example.com",
            "ftp://chef",
            "https://",
            "https:///x",
            "https://user:secret@chef/",
            "https://chef/?a=b",
            "https://chef/#x",
            "https://chef/../x",
            "https://chef/%2e%2e",
            "https://chef:0/",
            "https://chef:99999/",
            "https://[::1/",
            "https://ch ef/",
            "https://chef\n/",
        ] {
            assert!(ServerUrl::new(bad).is_err(), "{bad}");
        }
        assert!(!ServerUrl::new("https://user:secret@chef/").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn only_plain_http_that_leaves_the_machine_is_exposed() {
        for (text, exposed) in [
            ("http://127.0.0.1:4545", false),
            ("http://localhost:4545", false),
            ("http://[::1]:4545", false),
            ("http://10.0.0.1", true),
            ("http://localhost.example.com", true),
            ("https://chef.example.com", false),
        ] {
            assert_eq!(ServerUrl::new(text).unwrap().is_exposed(), exposed, "{text}");
        }
    }
}
