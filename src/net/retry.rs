//! When to try again, and after how long.

use std::error::Error as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::time::Duration;

use crate::net::Error;

/// How often and how patiently a request is tried again. Tries are counted from the last progress.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    pub tries: u32,
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// A server that asks for more than this is not waited for.
    pub longest_asked_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
            longest_asked_wait: Duration::from_mins(2),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the next try after `failures` in a row; none when it is of no use.
    pub fn wait(&self, error: &Error, failures: u32) -> Option<Duration> {
        // A server that mishandles ranges once may be one of several; one that does it again is asked without them.
        let is_about_ranges = matches!(error, Error::WrongRange { .. } | Error::RangesStopped { .. });
        let tries = if is_about_ranges { self.tries.min(2) } else { self.tries };
        if failures >= tries || !is_worth_another_try(error) {
            return None;
        }
        if let Error::Status { retry_after: Some(asked), .. } = error {
            return (*asked <= self.longest_asked_wait).then_some(*asked);
        }
        let doubled = self.first_wait.saturating_mul(1 << (failures.saturating_sub(1)).min(16));
        Some(jittered(doubled.min(self.longest_wait)))
    }

    /// The error to show when a wait was refused because the server asked for too much of it.
    pub fn explained(&self, error: Error) -> Error {
        match error {
            Error::Status { url, retry_after: Some(wait), .. } if wait > self.longest_asked_wait => {
                Error::AskedToWait { url, wait }
            }
            other => other,
        }
    }
}

/// Half to whole of a wait, so that clients which failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = std::hash::RandomState::new().build_hasher().finish();
    let half = wait / 2;
    half + Duration::from_nanos((half.as_nanos() as u64).min(random % (half.as_nanos() as u64 + 1)))
}

fn is_worth_another_try(error: &Error) -> bool {
    match error {
        Error::Transport { source, .. } => {
            !source.is_builder() && !buried_io(source).is_some_and(is_about_certificates)
        }
        Error::Body { .. } | Error::WrongRange { .. } | Error::RangesStopped { .. } => true,
        Error::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

/// The `io::Error` that tells what happened lies deep in the chain of causes.
fn buried_io(error: &reqwest::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// A certificate that is not trusted now will not be on the next try.
fn is_about_certificates(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> Error {
        let url = "https://a.example/".to_owned();
        Error::Status { url, status, message: String::new(), retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_stays_is_not() {
        let policy = RetryPolicy::default();
        assert!(policy.wait(&status(503, None), 1).is_some());
        assert!(policy.wait(&status(404, None), 1).is_none());
        assert!(policy.wait(&status(503, None), policy.tries).is_none());
        assert_eq!(policy.wait(&status(429, Some(3)), 1), Some(Duration::from_secs(3)));
        assert!(policy.wait(&status(429, Some(3600)), 1).is_none());
        let wait = policy.wait(&status(500, None), 3).unwrap();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(2), "{wait:?}");
    }
}
