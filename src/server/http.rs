//! HTTP to a server of ours on loopback: one request a connection, with a deadline, and given up as soon as the caller has a reason.
//!
//! Not the client of the network sources: no proxy must stand between us and loopback, and a read must end when the server dies
//! or the user presses Ctrl-C, not at the next byte.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use thiserror::Error;

/// No answer of llama-server that we ask for comes near it.
const LARGEST_ANSWER: usize = 64 << 20;
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Error)]
pub enum HttpError {
    #[error("the server at {address} cannot be reached")]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error("the server gave no answer to {path} within {} s", seconds.as_secs())]
    TooSlow { path: String, seconds: Duration },
    #[error("waiting for {path} was given up")]
    GivenUp { path: String },
    #[error("the server's answer to {path} is not HTTP")]
    Garbage { path: String },
    #[error("the server answered {path} with {status}: {message}")]
    Refused { path: String, status: u16, message: String },
    #[error("the server's answer to {path} is not the JSON that was asked for")]
    Json { path: String, source: serde_json::Error },
}

/// Where and how long.
pub struct Caller<'a> {
    pub address: SocketAddr,
    pub limit: Duration,
    /// Asked ten times a second: true ends the wait.
    pub give_up: &'a dyn Fn() -> bool,
}

impl Caller<'_> {
    pub fn get(&self, path: &str) -> Result<(u16, Vec<u8>), HttpError> {
        self.exchange(path, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    pub fn get_json(&self, path: &str) -> Result<serde_json::Value, HttpError> {
        json(path, self.get(path)?)
    }

    pub fn post_json(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, HttpError> {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        json(path, self.exchange(path, &(head + &body))?)
    }

    fn exchange(&self, path: &str, request: &str) -> Result<(u16, Vec<u8>), HttpError> {
        let unreachable = |source| HttpError::Unreachable { address: self.address, source };
        let end = Instant::now() + self.limit;
        let connect = self.limit.min(Duration::from_secs(2));
        let mut stream = TcpStream::connect_timeout(&self.address, connect).map_err(unreachable)?;
        stream.set_read_timeout(Some(POLL)).map_err(unreachable)?;
        stream.set_write_timeout(Some(POLL)).map_err(unreachable)?;
        let still_wanted = || {
            if (self.give_up)() {
                return Err(HttpError::GivenUp { path: path.to_owned() });
            }
            if Instant::now() > end {
                return Err(HttpError::TooSlow { path: path.to_owned(), seconds: self.limit });
            }
            Ok(())
        };
        // A server that hangs does not read either, and a long prompt does not fit into the system's buffers.
        let mut unsent = request.as_bytes();
        while !unsent.is_empty() {
            match stream.write(unsent) {
                Ok(count) => unsent = &unsent[count..],
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(unreachable(error)),
            }
            still_wanted()?;
        }
        let mut answer = Vec::new();
        let mut chunk = [0; 16 << 10];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(unreachable(error)),
            }
            still_wanted()?;
            if answer.len() > LARGEST_ANSWER {
                return Err(HttpError::Garbage { path: path.to_owned() });
            }
            if is_complete(&answer) {
                break;
            }
        }
        parse(&answer).ok_or_else(|| HttpError::Garbage { path: path.to_owned() })
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn json(path: &str, (status, body): (u16, Vec<u8>)) -> Result<serde_json::Value, HttpError> {
    if status != 200 {
        let text = String::from_utf8_lossy(&body);
        let said = serde_json::from_str::<serde_json::Value>(&text).ok();
        let message = said.as_ref().and_then(|said| said["error"]["message"].as_str()).unwrap_or(&text).to_owned();
        return Err(HttpError::Refused { path: path.to_owned(), status, message });
    }
    serde_json::from_slice(&body).map_err(|source| HttpError::Json { path: path.to_owned(), source })
}

fn split_head(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), &answer[end + 4..]))
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()
}

/// Whether all of the announced body is there; without an announcement the end of the connection decides.
fn is_complete(answer: &[u8]) -> bool {
    let Some((head, body)) = split_head(answer) else { return false };
    match content_length(&head) {
        Some(length) => body.len() >= length,
        None => head.contains("transfer-encoding: chunked") && answer.ends_with(b"0\r\n\r\n"),
    }
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (head, body) = split_head(answer)?;
    let status = head.strip_prefix("http/1.")?.split(' ').nth(1)?.trim().parse().ok()?;
    if head.contains("transfer-encoding: chunked") {
        return Some((status, unchunk(body)?));
    }
    let length = content_length(&head).unwrap_or(body.len());
    Some((status, body.get(..length)?.to_vec()))
}

fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line_end = body.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&body[..line_end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        body = body.get(line_end + 2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(body.get(..size)?);
        body = body.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered_with(bytes: &'static [u8], hold: bool) -> Result<(u16, Vec<u8>), HttpError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(bytes);
            if hold {
                std::thread::sleep(Duration::from_millis(1500));
            }
        });
        let caller = Caller { address, limit: Duration::from_millis(700), give_up: &|| false };
        let answer = caller.get("/health");
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_of_each_framing() {
        let plain = answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true).unwrap();
        assert_eq!(plain, (200, b"{}".to_vec()));
        let chunked =
            answered_with(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true);
        assert_eq!(chunked.unwrap(), (503, b"{}".to_vec()));
        let until_close = answered_with(b"HTTP/1.0 200 OK\r\n\r\nabc", false).unwrap();
        assert_eq!(until_close.1, b"abc");
    }

    #[test]
    fn garbage_silence_and_cuts_are_errors() {
        assert!(matches!(answered_with(b"hello", false), Err(HttpError::Garbage { .. })));
        assert!(matches!(answered_with(b"", true), Err(HttpError::TooSlow { .. })));
        assert!(matches!(
            answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", false),
            Err(HttpError::Garbage { .. })
        ));
    }
}
