//! `install` where networks and disks are as they are at work: a proxy in between, a certificate authority of one's own,
//! little room. Names such as `releases.example` exist nowhere: only the proxy knows them.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use support::archives::Tar;
use support::server::Server;
use support::user::{TODAY, User, code, cpu_name, elf, program, talk};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");
const INSTALL: [&str; 3] = ["install", "--backend", "cpu"];

/// A proxy that tunnels `CONNECT` to one port and hands plain requests to another, and keeps their first lines.
struct Proxy {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(plain: u16, tunnel: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, lines) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&lines);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || pass_on(client, plain, tunnel, &log));
            }
        });
        Self { port, lines }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

fn pass_on(client: TcpStream, plain: u16, tunnel: u16, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head += &line;
        line.clear();
    }
    log.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
    let is_tunnel = head.starts_with("CONNECT ");
    let mut server = TcpStream::connect(("127.0.0.1", if is_tunnel { tunnel } else { plain }))?;
    let mut client = client;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Established\r\n\r\n")?;
    } else {
        server.write_all(format!("{head}\r\n").as_bytes())?;
    }
    let (mut back, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let answers = std::thread::spawn(move || std::io::copy(&mut back, &mut to_client));
    std::io::copy(&mut reader, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)?;
    let _ = answers.join();
    Ok(())
}

#[test]
fn a_plain_proxy_is_used_and_not_for_hosts_that_need_none() {
    let user = User::new();
    let github = user.github.everything();
    // A proxy is asked for whole addresses.
    let origin = Server::start(move |request| {
        let path = request.path.strip_prefix("http://releases.example").unwrap().to_owned();
        github(&support::server::Request { path, ..request.clone() })
    });
    let proxy = Proxy::start(origin.port(), 1);
    let run = |no_proxy: &str| {
        let mut command = user.command(&INSTALL);
        command.env("LLAMA_DOCTOR_GITHUB_URL", "http://releases.example");
        command.env("LLAMA_DOCTOR_GITHUB_API_URL", "http://releases.example");
        command.env("LLAMA_DOCTOR_ALLOW_HOSTS", "127.0.0.1").env("HTTP_PROXY", proxy.url()).env("NO_PROXY", no_proxy);
        command.output().unwrap()
    };
    let output = run("127.0.0.1");
    assert_eq!(code(&output), 0, "{}", talk(&output));
    // One connection serves many requests, so the proxy's log holds some of them; the origin saw them all.
    assert!(!proxy.lines().is_empty() && proxy.lines().iter().all(|line| line.contains("releases.example")));
    assert!(origin.paths().iter().any(|path| path.ends_with("nightly-tag.txt")));
    assert!(!user.github.files.requests().is_empty(), "the files' host was asked directly");
    fs_err::remove_dir_all(user.home()).unwrap();
    let output = run("releases.example");
    assert_eq!(code(&output), 4, "without the proxy the name is nobody's: {}", talk(&output));
}

#[test]
fn https_goes_through_a_tunnel_and_ones_own_authority_is_trusted() {
    let user = User::new();
    user.github.state.lock().unwrap().redirect_to = Some("https://releases.example".to_owned());
    let origin = Server::start_tls(user.github.everything());
    let proxy = Proxy::start(1, origin.port());
    let run = |authority: Option<&str>| {
        let mut command = user.command(&INSTALL);
        command.env("LLAMA_DOCTOR_GITHUB_URL", "https://releases.example");
        command.env("LLAMA_DOCTOR_GITHUB_API_URL", "https://releases.example").env("HTTPS_PROXY", proxy.url());
        authority.map(|path| command.env("SSL_CERT_FILE", path));
        command.output().unwrap()
    };
    let output = run(None);
    assert_eq!(code(&output), 4);
    assert!(talk(&output).contains("SSL_CERT_FILE"), "{}", talk(&output));
    let output = run(Some(AUTHORITY));
    assert_eq!(code(&output), 0, "{}", talk(&output));
    assert!(proxy.lines().iter().all(|line| line == "CONNECT releases.example:443 HTTP/1.1"), "{:?}", proxy.lines());
    assert!(origin.paths().iter().any(|path| path.starts_with("/blob/")));
    let broken = run(Some("/nowhere/authority.pem"));
    assert_eq!(code(&broken), 3);
    assert!(talk(&broken).contains("/nowhere/authority.pem"), "{}", talk(&broken));
}

#[test]
fn a_disk_without_room_is_named_before_the_download() {
    let user = User::new();
    for asset in user.github.state.lock().unwrap().releases[0]["assets"].as_array_mut().unwrap() {
        asset["size"] = json!(1u64 << 50);
    }
    let output = user.run(&INSTALL);
    assert_eq!(code(&output), 3, "{}", talk(&output));
    assert!(talk(&output).contains("its disk has"), "{}", talk(&output));
    assert_eq!(user.github.files.sent(), 0);
}

/// Of a process, in KiB: what it has of its own, without the program's own pages.
fn own_memory(process: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(field("RssAnon:")? + field("RssShmem:")?)
}

#[test]
fn memory_stays_flat_and_lines_stay_plain() {
    let user = User::new();
    let noise: Vec<u8> = (0..96 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let top = "llama-b11434";
    let build = Tar::default()
        .program(format!("{top}/llama-server"), program())
        .file(format!("{top}/libggml-cpu.so"), elf())
        .file(format!("{top}/weights"), noise)
        .gz();
    let size = build.len();
    user.github.state.lock().unwrap().releases.clear();
    user.github.add(TODAY, &[(&cpu_name("b11434"), build)]);
    let mut child = user.command(&INSTALL).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = most.max(own_memory(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{said}");
    assert!(most < 40 << 10, "{most} KiB for an archive of {size} bytes");
    assert!(said.contains(&format!("{}: ", cpu_name("b11434"))), "{said}");
    assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn two_at_once_do_not_meet() {
    let user = User::new();
    let both: Vec<Output> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| user.run(&INSTALL));
        let both = [start(), start()];
        both.map(|one| one.join().unwrap()).into()
    });
    // Each either did it, found it done, or says that another is at it.
    for output in &both {
        let busy = code(output) == 3 && talk(output).contains("another process");
        assert!(code(output) == 0 || busy, "{}", talk(output));
    }
    assert!(both.iter().any(|output| code(output) == 0));
    assert_eq!(code(&user.run(&["builds", "verify", "b11434-cpu"])), 0);
}
