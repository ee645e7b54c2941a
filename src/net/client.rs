//! The HTTP client: blocking, HTTP/1.1, redirects by hand, secrets for one origin only.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::net::redirect::{self, MOST_HOPS, Redirects};
use crate::net::retry::RetryPolicy;
use crate::net::{Error, shown};
use crate::units::Bytes;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Every request fails with [`Error::Offline`].
    pub offline: bool,
    /// More roots to trust, in PEM (`SSL_CERT_FILE`).
    pub certificate_bundle: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// The longest silence: until the first byte of an answer, and between two reads of its body.
    pub idle_timeout: Duration,
    pub retry: RetryPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            offline: false,
            certificate_bundle: None,
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::blocking::Client,
    pub settings: Settings,
}

/// A secret for the `Authorization` header. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(HeaderValue);

impl Secret {
    /// None when the token holds characters that a header cannot carry.
    pub fn bearer(token: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

/// One request. Its redirects are followed as `redirects` allows.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, String)>,
    /// Sent to the origin of `url` alone.
    pub authorization: Option<Secret>,
    pub redirects: Redirects,
}

impl Ask {
    pub fn get(url: Url, redirects: Redirects) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), authorization: None, redirects }
    }

    pub fn head(url: Url, redirects: Redirects) -> Self {
        Self { method: Method::HEAD, ..Self::get(url, redirects) }
    }

    #[must_use]
    pub fn authorized(mut self, secret: Option<Secret>) -> Self {
        self.authorization = secret;
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// One step of a chain of redirects.
#[derive(Debug, Clone)]
pub struct Hop {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
}

/// What came back, whatever its status; the body is not read yet.
#[derive(Debug)]
pub struct Answer {
    /// Every redirect that led here, the first asked first; empty when there was none.
    pub hops: Vec<Hop>,
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Response,
}

impl Client {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // Without a provider the first client fails, even for plain http. A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::blocking::Client::builder()
            .user_agent(concat!("llama-doctor/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.idle_timeout);
        if let Some(path) = &settings.certificate_bundle {
            let bundle_error = |why: String| Error::CertificateBundle { path: path.clone(), why };
            let pem = fs_err::read(path).map_err(|error| bundle_error(error.to_string()))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| bundle_error(format!("it is not PEM ({error})")))?;
            if roots.is_empty() {
                return Err(bundle_error("it holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(roots);
        }
        Ok(Self { http: builder.build().map_err(Error::Start)?, settings })
    }

    /// Sends one request and follows its redirects. Any status but a followed redirect is an answer.
    pub fn send(&self, ask: &Ask) -> Result<Answer, Error> {
        if self.settings.offline {
            return Err(Error::Offline { url: shown(&ask.url) });
        }
        let mut hops = Vec::new();
        let mut url = ask.url.clone();
        // Once a chain has left the origin, the secret stays away, even when the chain comes back.
        let mut secret = ask.authorization.as_ref();
        loop {
            let mut request = self.http.request(ask.method.clone(), url.clone());
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            if let Some(Secret(value)) = secret {
                request = request.header(header::AUTHORIZATION, value.clone());
            }
            tracing::debug!(method = %ask.method, url = shown(&url), "asking");
            let body = request.send().map_err(|source| Error::Transport {
                url: shown(&url),
                // The message of the source would show the URL again, with its signature.
                source: source.without_url(),
            })?;
            let status = body.status().as_u16();
            let headers = body.headers().clone();
            tracing::debug!(status, url = shown(&url), "answered");
            let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let (true, Some(location), false) =
                (matches!(status, 301 | 302 | 303 | 307 | 308), location, ask.redirects == Redirects::Returned)
            else {
                return Ok(Answer { hops, url, status, headers, body });
            };
            if hops.len() == MOST_HOPS {
                return Err(Error::TooManyRedirects { url: shown(&ask.url) });
            }
            let next = redirect::next(&ask.redirects, &ask.url, &url, location)?;
            if !redirect::same_origin(&ask.url, &next) {
                secret = None;
            }
            hops.push(Hop { url, status, headers });
            url = next;
        }
    }

    /// As [`Client::send`], with the retry policy; a status of 400 and more is an error.
    pub fn send_patiently(&self, ask: &Ask) -> Result<Answer, Error> {
        let mut failures = 0;
        loop {
            let error = match self.send(ask).and_then(Answer::good) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            match self.settings.retry.wait(&error, failures) {
                Some(wait) => {
                    tracing::debug!(%error, ?wait, "trying again");
                    std::thread::sleep(wait);
                }
                None => return Err(self.settings.retry.explained(error)),
            }
        }
    }

    /// The text of a small answer. One longer than `limit` is an error, not a surprise.
    pub fn text(&self, ask: &Ask, limit: Bytes) -> Result<String, Error> {
        self.send_patiently(ask)?.text(limit)
    }
}

impl Answer {
    /// Itself, unless the status is an error: then what the server said, shortened.
    pub fn good(self) -> Result<Self, Error> {
        if self.status < 400 {
            return Ok(self);
        }
        let retry_after = retry_after(&self.headers);
        let is_text = content_type(&self.headers).is_none_or(|kind| !kind.contains("html"));
        let (url, status) = (shown(&self.url), self.status);
        let message = if is_text { self.text_up_to(600).unwrap_or_default() } else { String::new() };
        Err(Error::Status { url, status, message: one_line(&message), retry_after })
    }

    /// The value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn text(self, limit: Bytes) -> Result<String, Error> {
        let url = shown(&self.url);
        let text = self.text_up_to(limit.0 + 1)?;
        if text.len() as u64 > limit.0 { Err(Error::TooLong { url, limit }) } else { Ok(text) }
    }

    fn text_up_to(self, limit: u64) -> Result<String, Error> {
        let mut bytes = Vec::new();
        self.body
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::Body { url: shown(&self.url), source })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// `Retry-After` in seconds or as a date, the hub's `RateLimit: …;t=SECONDS`, or GitHub's `x-ratelimit-reset` when nothing remains.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(asked) = text("retry-after") {
        if let Ok(seconds) = asked.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(asked).ok()?;
        return Some(until(date.as_second()));
    }
    if let Some(limit) = text("ratelimit") {
        let seconds = limit.split([';', ',']).find_map(|part| part.trim().strip_prefix("t=")?.parse().ok());
        return seconds.map(Duration::from_secs);
    }
    let reset = text("x-ratelimit-reset").filter(|_| text("x-ratelimit-remaining") == Some("0"))?;
    Some(until(reset.parse().ok()?))
}

fn until(epoch_second: i64) -> Duration {
    Duration::from_secs(epoch_second.saturating_sub(jiff::Timestamp::now().as_second()).max(0).unsigned_abs())
}

/// GitHub and the hub wrap their message in JSON; a terminal needs one line of it.
fn one_line(text: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("message").or_else(|| value.get("error"))?.as_str().map(str::to_owned))
        .unwrap_or_else(|| text.to_owned());
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|character| !character.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn each_way_of_asking_to_wait_is_understood() {
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers(&[("ratelimit", "\"resolvers\";r=0;t=42")])), Some(Duration::from_secs(42)));
        let date = retry_after(&headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]));
        assert_eq!(date, Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[("x-ratelimit-reset", "1"), ("x-ratelimit-remaining", "5")])), None);
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::bearer("hf_very_private").unwrap();
        assert!(!format!("{secret:?}").contains("private"));
        assert!(Secret::bearer("a\nb").is_none());
    }

    #[test]
    fn a_message_becomes_one_clean_line() {
        assert_eq!(one_line("{\"message\": \"API rate\\nlimit\"}"), "API rate limit");
        assert_eq!(one_line("a\u{1b}[31m b"), "a[31m b");
    }
}
