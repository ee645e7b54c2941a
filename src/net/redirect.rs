//! Where a redirect may lead, and what may be said there.

use url::Url;

use crate::net::{Error, shown};

/// Which hosts a source's redirects may lead to. The host that was asked is always among them, on any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirects {
    /// Redirects are handed back, not followed.
    Returned,
    /// Only these hosts: `name`, `name:port`, or `*.name` for every host below it.
    Hosts(Vec<String>),
    /// Any host, for content that is checked by its digest.
    Any,
}

/// The longest chain that is followed. GitHub needs two hops, a renamed model three.
pub const MOST_HOPS: usize = 10;

/// The next URL of a chain that began at `origin` and stands at `from`, or why it may not be asked.
pub(crate) fn next(policy: &Redirects, origin: &Url, from: &Url, location: &str) -> Result<Url, Error> {
    let refused = |why| Error::RedirectRefused { from: shown(from), to: without_query(location), why };
    let to = from.join(location).map_err(|_| refused("it is not a URL"))?;
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refused("it holds a user name or a password"));
    }
    match to.scheme() {
        "https" => {}
        "http" if origin.scheme() == "http" => {}
        "http" => return Err(refused("it leaves https")),
        _ => return Err(refused("it is neither http nor https")),
    }
    let Some(host) = to.host_str() else { return Err(refused("it names no host")) };
    let allowed = match policy {
        Redirects::Returned => false,
        Redirects::Any => true,
        Redirects::Hosts(hosts) => {
            origin.host_str() == Some(host)
                || hosts.iter().any(|allowed| host_matches(allowed, host, to.port_or_known_default()))
        }
    };
    if allowed { Ok(to) } else { Err(refused("this host is not among those that the source may lead to")) }
}

fn without_query(location: &str) -> String {
    location.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn host_matches(allowed: &str, host: &str, port: Option<u16>) -> bool {
    if let Some(parent) = allowed.strip_prefix("*.") {
        return host.len() > parent.len() && host.ends_with(parent) && host[..host.len() - parent.len()].ends_with('.');
    }
    match allowed.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            name.eq_ignore_ascii_case(host) && number.parse().ok() == port
        }
        _ => allowed.eq_ignore_ascii_case(host),
    }
}

/// Whether a secret meant for `origin` may be sent to `url`: same scheme, host and port.
pub(crate) fn same_origin(origin: &Url, url: &Url) -> bool {
    origin.scheme() == url.scheme()
        && origin.host_str() == url.host_str()
        && origin.port_or_known_default() == url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(policy: &Redirects, from: &str, location: &str) -> Result<String, String> {
        let from = Url::parse(from).unwrap();
        next(policy, &from, &from, location).map(Into::into).map_err(|error| error.to_string())
    }

    #[test]
    fn only_known_hosts_are_followed() {
        let policy = Redirects::Hosts(vec!["assets.example".into(), "*.cdn.example".into(), "odd.example:81".into()]);
        let from = "https://origin.example/a/b";
        assert_eq!(go(&policy, from, "../c").unwrap(), "https://origin.example/c");
        assert!(go(&policy, from, "https://assets.example/x?sig=1").is_ok());
        assert!(go(&policy, from, "https://one.cdn.example/x").is_ok());
        assert!(go(&policy, from, "https://origin.example:8443/x").is_ok());
        assert!(go(&policy, from, "https://cdn.example/x").is_err());
        assert!(go(&policy, from, "https://evilcdn.example/x").is_err());
        assert!(go(&policy, from, "https://assets.example.evil/x").is_err());
        assert!(go(&policy, from, "https://odd.example/x").is_err());
        let error = go(&policy, from, "https://evil.example/x?token=secret").unwrap_err();
        assert!(error.contains("evil.example") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn https_is_never_left_and_secrets_never_ride_in_urls() {
        assert!(go(&Redirects::Any, "https://a.example/", "http://a.example/").is_err());
        assert!(go(&Redirects::Any, "http://a.example/", "http://b.example/").is_ok());
        assert!(go(&Redirects::Any, "https://a.example/", "file:///etc/passwd").is_err());
        assert!(go(&Redirects::Any, "https://a.example/", "https://user:word@a.example/").is_err());
    }
}
