//! An HTTP server on loopback that can do everything wrong: cut, stall, lie about ranges, pace, and count what was asked.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// 0 for the server's first request.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The range that was asked for, within `length` bytes; `Err` for one that lies outside.
    pub fn range(&self, length: usize) -> Option<Result<Range<usize>, ()>> {
        let (start, end) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let start: usize = start.parse().ok()?;
        let end = end.parse::<usize>().map_or(length, |last| (last + 1).min(length));
        Some(if start < end { Ok(start..end) } else { Err(()) })
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Arc<Vec<u8>>,
    pub part: Range<usize>,
    /// Close the connection after this many bytes of the body.
    pub cut_after: Option<usize>,
    /// Fall silent after this many bytes of the body.
    pub stall_after: Option<usize>,
    /// Bytes a second on this connection.
    pub pace: Option<u64>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = Arc::new(body.into());
        let part = 0..body.len();
        Self { status, headers: Vec::new(), body, part, cut_after: None, stall_after: None, pace: None }
    }

    pub fn redirect(to: impl Into<String>) -> Self {
        Self::new(302, "").header("Location", to)
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    pub fn stall_after(mut self, bytes: usize) -> Self {
        self.stall_after = Some(bytes);
        self
    }

    pub fn pace(mut self, bytes_per_second: u64) -> Self {
        self.pace = Some(bytes_per_second);
        self
    }

    /// What a good file server answers: ranges, `If-Range`, 416.
    pub fn file(request: &Request, body: &Arc<Vec<u8>>, etag: &str) -> Self {
        let base = |status, part: Range<usize>| {
            Self { body: Arc::clone(body), part, ..Self::new(status, "") }
                .header("ETag", etag)
                .header("Accept-Ranges", "bytes")
                .header("Content-Type", "application/octet-stream")
        };
        let is_current = request.header("if-range").is_none_or(|wanted| wanted == etag);
        match request.range(body.len()).filter(|_| is_current) {
            None => base(200, 0..body.len()),
            Some(Err(())) => base(416, 0..0).header("Content-Range", format!("bytes */{}", body.len())),
            Some(Ok(range)) => {
                let text = format!("bytes {}-{}/{}", range.start, range.end - 1, body.len());
                base(206, range).header("Content-Range", text)
            }
        }
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    log: Mutex<Vec<Request>>,
    sent: AtomicU64,
}

/// Lives until the test program ends.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(handler, serve)
    }

    /// Over TLS, with the certificate of `tests/tls/`, which `authority.pem` vouches for.
    pub fn start_tls(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let config = Arc::new(tls_config());
        Self::with(handler, move |shared, stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            serve(shared, rustls::StreamOwned::new(connection, stream))
        })
    }

    fn with(
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        speak: impl Fn(&Shared, TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { handler: Box::new(handler), log: Mutex::default(), sent: AtomicU64::new(0) });
        let (for_thread, speak) = (Arc::clone(&shared), Arc::new(speak));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, speak) = (Arc::clone(&for_thread), Arc::clone(&speak));
                // A client that goes away in the middle is part of the tests.
                std::thread::spawn(move || stream.set_nodelay(true).and_then(|()| speak(&shared, stream)));
            }
        });
        Self { port, shared }
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// Bytes of bodies handed to the system so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

fn tls_config() -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

/// Until the client goes away or a reply ends the connection.
fn serve(shared: &Shared, stream: impl Read + Write) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let request = {
            let mut log = shared.log.lock().unwrap();
            let request = Request { method, path, headers, number: log.len() };
            log.push(request.clone());
            request
        };
        let reply = (shared.handler)(&request);
        let mut head = format!("HTTP/1.1 {} Spoken\r\n", reply.status);
        for (name, value) in &reply.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let is_silent = matches!(reply.status, 204 | 304);
        if !is_silent && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            write!(head, "Content-Length: {}\r\n", reply.part.len()).unwrap();
        }
        head += "\r\n";
        let writer = reader.get_mut();
        writer.write_all(head.as_bytes())?;
        writer.flush()?;
        if request.method == "HEAD" || is_silent {
            continue;
        }
        if !send_body(shared, &reply, writer)? {
            return Ok(());
        }
    }
}

/// Whether the connection may be used again.
fn send_body(shared: &Shared, reply: &Reply, writer: &mut impl Write) -> std::io::Result<bool> {
    let bytes = &reply.body[reply.part.clone()];
    let limit = reply.cut_after.or(reply.stall_after).unwrap_or(bytes.len()).min(bytes.len());
    let began = Instant::now();
    let mut at = 0;
    while at < limit {
        let step = if reply.pace.is_some() { 16 << 10 } else { 256 << 10 };
        let end = (at + step).min(limit);
        writer.write_all(&bytes[at..end])?;
        shared.sent.fetch_add((end - at) as u64, Ordering::Relaxed);
        at = end;
        if let Some(pace) = reply.pace {
            let due = Duration::from_secs_f64(at as f64 / pace as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    writer.flush()?;
    if reply.stall_after.is_some() {
        std::thread::sleep(Duration::from_mins(1));
    }
    Ok(reply.cut_after.is_none() && reply.stall_after.is_none())
}
