//! From words to a server that answers: starting it, waiting until it is ready, and saying why it is not.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::diagnose::{self, Diagnosis};
use super::http::Caller;
use super::log::LogFacts;
use super::supervise::{Supervised, stops_asked};

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("{} cannot be started", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("llama-server for {name} ended with {status}: {}", diagnosis.summary)]
    Diagnosed { name: String, status: String, diagnosis: Box<Diagnosis>, log: PathBuf },
    #[error("llama-server for {name} ended with {status}; it last said:\n  {}", tail.join("\n  "))]
    Ended { name: String, status: String, tail: Vec<String>, log: PathBuf },
    #[error("llama-server for {name} was not ready after {} s", waited.as_secs())]
    NotReady { name: String, waited: Duration, log: PathBuf },
    #[error("port {port} of {host} is taken by another program")]
    PortTaken { host: String, port: u16 },
    #[error("stopped by the user")]
    Stopped,
    #[error("the time was up")]
    TimeUp,
    #[error(transparent)]
    Http(#[from] super::http::HttpError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One server to start.
#[derive(Debug, Clone)]
pub struct Start {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Variables that the server must not see.
    pub without: Vec<String>,
    pub host: String,
    pub port: u16,
    pub log: PathBuf,
}

/// A server that runs, and where it listens.
#[derive(Debug)]
pub struct Server {
    pub name: String,
    pub address: SocketAddr,
    pub process: Supervised,
    pub started: Instant,
}

impl Server {
    /// Refuses a port that another program listens on: its answers would be taken for ours.
    pub fn start(start: &Start) -> Result<Self, ServerError> {
        let address = address(&start.host, start.port)?;
        drop(TcpListener::bind(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ServerError::PortTaken { host: start.host.clone(), port: start.port },
            _ => error.into(),
        })?);
        let process = Supervised::start(&start.program, &start.arguments, &start.without, &start.log)
            .map_err(|source| ServerError::Start { program: start.program.clone(), source })?;
        Ok(Self { name: start.name.clone(), address: reachable(address), process, started: Instant::now() })
    }

    /// Waits until `/health` says ok: the port answers 503 long before. `tick` hears how long it takes.
    pub fn wait_ready(&mut self, limit: Duration, tick: &mut dyn FnMut(Duration)) -> Result<Duration, ServerError> {
        loop {
            self.still_runs()?;
            if stops_asked() > 0 {
                return Err(ServerError::Stopped);
            }
            let waited = self.started.elapsed();
            let caller =
                Caller { address: self.address, limit: Duration::from_secs(2), give_up: &|| stops_asked() > 0 };
            // Until it is ready, every failure to answer is the same answer: not yet.
            if matches!(caller.get("/health"), Ok((200, _))) {
                return Ok(waited);
            }
            if waited > limit {
                return Err(ServerError::NotReady { name: self.name.clone(), waited, log: self.log() });
            }
            tick(waited);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// An error with the cause if the server has ended.
    pub fn still_runs(&mut self) -> Result<(), ServerError> {
        let Some(status) = self.process.ended()? else { return Ok(()) };
        let text = log_text(self.process.log())?;
        let (name, status, log) = (self.name.clone(), status.to_string(), self.log());
        Err(match diagnose::diagnose(&text) {
            Some(diagnosis) => ServerError::Diagnosed { name, status, diagnosis: Box::new(diagnosis), log },
            None => ServerError::Ended { name, status, tail: diagnose::tail(&text, 5), log },
        })
    }

    pub fn log(&self) -> PathBuf {
        self.process.log().to_owned()
    }

    /// What the log said so far.
    pub fn facts(&self) -> io::Result<LogFacts> {
        Ok(LogFacts::from_text(&log_text(self.process.log())?))
    }
}

/// The log as text; of one that grew beyond reason, its first part, where the memory lines are.
fn log_text(log: &Path) -> io::Result<String> {
    use std::io::Read as _;
    const MOST: u64 = 32 << 20;
    let mut bytes = Vec::new();
    fs_err::File::open(log)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn address(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found = (host, port).to_socket_addrs()?.next();
    found.ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("host `{host}` has no address")))
}

/// A server that listens to all interfaces is reached through loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let port = address.port();
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], port)),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
        other => other,
    }
}

/// A port that is free now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The first of so many neighbouring ports that are free now.
pub fn free_ports(count: usize) -> io::Result<u16> {
    const ATTEMPTS: usize = 64;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..ATTEMPTS {
        let first = free_port()?;
        if (1..count).all(|next| u16::try_from(next).ok().and_then(|next| first.checked_add(next)).is_some_and(is_free))
        {
            return Ok(first);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no {count} neighbouring ports are free")))
}
