//! Headers over the network: how many requests, how many bytes, and what a bad server can do.

#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use llama_doctor::gguf::Header;
use llama_doctor::net::client::{Ask, Client, Settings};
use llama_doctor::net::redirect::Redirects;
use llama_doctor::net::retry::RetryPolicy;
use llama_doctor::source::remote_header::{RemoteHeader, RemoteHeaderError};
use llama_doctor::units::KIB;
use support::gguf::Gguf;
use support::server::{Reply, Request, Server};

fn client() -> Client {
    let retry = RetryPolicy { tries: 4, first_wait: Duration::from_millis(2), ..RetryPolicy::default() };
    Client::new(Settings { idle_timeout: Duration::from_millis(500), retry, ..Settings::default() }).unwrap()
}

fn fetch(server: &Server) -> Result<RemoteHeader, RemoteHeaderError> {
    RemoteHeader::fetch(&client(), &Ask::get(server.url("/m.gguf").parse().unwrap(), Redirects::Any))
}

/// A vocabulary whose words grow with their rank, as real ones do.
fn vocabulary(count: u32, merges: bool) -> Gguf {
    let word = move |index: u32| "w".repeat((f64::from(index + 4).log2() * 0.9) as usize);
    let gguf = Gguf::llama()
        .texts("tokenizer.ggml.tokens", (0..count).map(word))
        .i32s("tokenizer.ggml.token_type", count.into());
    if merges { gguf.texts("tokenizer.ggml.merges", (0..count).map(move |index| word(index) + " ")) } else { gguf }
}

fn assert_frugal(gguf: &Gguf) {
    let header_bytes = gguf.header().len() as u64;
    let mut file = gguf.file();
    file.resize(file.len() + (24 << 20), 7);
    let file = Arc::new(file);
    let body = Arc::clone(&file);
    let server = Server::start(move |request| Reply::file(request, &body, "\"one\""));
    let remote = fetch(&server).unwrap();
    let asked: usize = server.requests().iter().map(|request| request.range(file.len()).unwrap().unwrap().len()).sum();
    let header = Header::read(&remote).unwrap();
    assert_eq!(header, Header::read(file.as_ref()).unwrap());
    assert!(remote.downloaded() <= header_bytes + 256 * KIB, "{} for {header_bytes}", remote.downloaded());
    assert!(asked as u64 <= header_bytes + 256 * KIB, "{asked} asked for {header_bytes}");
    assert!(server.requests().len() <= 3, "{} requests for {header_bytes}", server.requests().len());
}

#[test]
fn a_header_of_ten_megabytes_takes_three_requests_and_little_more_than_itself() {
    let gguf = vocabulary(230_000, true);
    assert!((9 << 20..12 << 20).contains(&gguf.header().len()), "{}", gguf.header().len());
    assert_frugal(&gguf);
}

#[test]
fn headers_of_every_size_are_fetched_frugally() {
    assert_frugal(&Gguf::llama());
    for count in [3_000, 32_000, 50_000, 128_000, 152_000] {
        assert_frugal(&vocabulary(count, true));
        assert_frugal(&vocabulary(count, false));
    }
    let template = "{{ x }}".repeat(1_400_000);
    assert_frugal(&Gguf::llama().text("tokenizer.chat_template", &template));
    let words = (0..400_000_u32).map(|index| format!("token-{:x}", index.wrapping_mul(2_654_435_761)));
    assert_frugal(&Gguf::llama().texts("tokenizer.ggml.tokens", words));
}

#[test]
fn a_redirect_is_followed_once() {
    let file = Arc::new(vocabulary(100_000, true).file());
    let cdn = Server::start(move |request| Reply::file(request, &file, "\"one\""));
    let to = cdn.url("/signed?sig=1");
    let hub =
        Server::start(move |_| Reply::redirect(to.clone()).header("X-Linked-ETag", format!("\"{}\"", "ab".repeat(32))));
    let remote = fetch(&hub).unwrap();
    assert_eq!(hub.requests().len(), 1);
    assert!(cdn.requests().len() <= 3);
    assert_eq!(remote.hops.len(), 1);
    Header::read(&remote).unwrap();
}

#[test]
fn a_server_without_ranges_is_left_as_soon_as_the_header_is_whole() {
    let gguf = vocabulary(20_000, true);
    let (header, mut file) = (gguf.header().len() as u64, gguf.file());
    file.resize(64 << 20, 0);
    let server = Server::start(move |_| Reply::new(200, file.clone()));
    let remote = fetch(&server).unwrap();
    assert!(remote.downloaded() <= header + 64 * KIB);
    assert_eq!(server.requests().len(), 1);
    Header::read(&remote).unwrap();
}

#[test]
fn cuts_and_stalls_are_survived() {
    let gguf = vocabulary(60_000, true);
    let file = Arc::new(gguf.file());
    let body = Arc::clone(&file);
    let server = Server::start(move |request: &Request| {
        let reply = Reply::file(request, &body, "\"one\"");
        match request.number {
            0 => Reply::new(503, ""),
            1 => reply.cut_after(100_000),
            2 => reply.stall_after(50_000),
            _ => reply,
        }
    });
    let remote = fetch(&server).unwrap();
    assert_eq!(Header::read(&remote).unwrap(), Header::read(file.as_ref()).unwrap());
}

#[test]
fn what_is_no_model_is_found_out_at_once() {
    for (body, word) in [
        ("<!DOCTYPE html><html>".to_owned() + &"x".repeat(1 << 20), "HTML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_owned(), "LFS"),
        ("PK\x03\x04".to_owned(), "not a GGUF"),
        (String::new(), "empty"),
    ] {
        let body = Arc::new(body.into_bytes());
        let server = Server::start(move |request| Reply::file(request, &body, "\"one\""));
        let remote = fetch(&server).unwrap();
        let error = Header::read(&remote).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_header_without_end_is_given_up() {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(u64::MAX.to_le_bytes());
    bytes.resize(1 << 20, 0);
    let body = Arc::new(bytes);
    let server = Server::start(move |request| Reply::file(request, &body, "\"one\""));
    let remote = fetch(&server).unwrap();
    assert!(Header::read(&remote).is_err());
}

/// llama.cpp's own `models/ggml-vocab-*.gguf`: what `.ci/fetch-vocabularies.sh` brings, or the folder that
/// `LLAMA_DOCTOR_FIELD_VOCABULARIES` names.
#[test]
#[ignore = "needs a checkout of llama.cpp"]
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a field test says what it measured")]
fn real_vocabularies_are_fetched_frugally() {
    let named = std::env::var_os("LLAMA_DOCTOR_FIELD_VOCABULARIES").map(std::path::PathBuf::from);
    let cache = std::env::var_os("LLAMA_DOCTOR_FIELD_CACHE").map_or_else(
        || std::path::PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/llama-doctor-field"),
        std::path::PathBuf::from,
    );
    let folder = named.unwrap_or_else(|| cache.join("vocabularies"));
    let Ok(entries) = fs_err::read_dir(&folder) else {
        eprintln!("skipped: {} is not here; .ci/fetch-vocabularies.sh brings it", folder.display());
        return;
    };
    let mut count = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let mut file = fs_err::read(&path).unwrap();
        let header_bytes = file.len() as u64;
        file.resize(file.len() + (24 << 20), 7);
        let length = file.len();
        let file = Arc::new(file);
        let server = Server::start(move |request| Reply::file(request, &file, "\"one\""));
        let remote = fetch(&server).unwrap();
        let asked: usize = server.requests().iter().map(|request| request.range(length).unwrap().unwrap().len()).sum();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let requests = server.requests().len();
        eprintln!(
            "{name:32} {header_bytes:>9} bytes: {requests} requests, {:>6} read and {:>6} asked beyond the header",
            remote.downloaded() as i64 - header_bytes as i64,
            asked as i64 - header_bytes as i64
        );
        count += 1;
        assert!(requests <= 3, "{name}: {requests} requests");
        assert!(asked as u64 <= header_bytes + 256 * KIB, "{name}: {asked} asked for {header_bytes}");
    }
    assert!(count >= 19, "{count} vocabularies");
}
