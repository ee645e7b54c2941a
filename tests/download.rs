//! The download engine against a server that does everything wrong.

#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llama_doctor::net::Error;
use llama_doctor::net::client::{Ask, Client, Secret, Settings};
use llama_doctor::net::digest::Sha256Digest;
use llama_doctor::net::download::{Downloaded, Request, Silent, download};
use llama_doctor::net::redirect::Redirects;
use llama_doctor::net::retry::RetryPolicy;
use llama_doctor::units::{Bytes, KIB, MIB};
use support::server::{Reply, Server};

const ETAG: &str = "\"one\"";

/// Bytes that repeat nowhere, so that a piece at a wrong place shows.
fn content(length: usize) -> Arc<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    Arc::new(words.take(length.div_ceil(8)).flatten().take(length).collect())
}

fn client() -> Client {
    let retry = RetryPolicy { tries: 5, first_wait: Duration::from_millis(2), ..RetryPolicy::default() };
    Client::new(Settings { idle_timeout: Duration::from_millis(400), retry, ..Settings::default() }).unwrap()
}

fn request(server: &Server, folder: &Path, body: &[u8]) -> Request {
    Request {
        size: Some(body.len() as u64),
        sha256: Some(Sha256Digest::of(body)),
        connections: 4,
        slice: Bytes(256 * KIB),
        ..Request::new(server.url("/file").parse().unwrap(), folder.join("file.bin"), Redirects::Hosts(vec![]))
    }
}

fn get(server: &Server, folder: &Path, body: &[u8]) -> Result<Downloaded, Error> {
    download(&client(), &request(server, folder, body), &Silent)
}

/// The file is whole and nothing else lies beside it.
fn assert_whole(folder: &Path, body: &[u8]) {
    assert!(fs_err::read(folder.join("file.bin")).unwrap() == body, "the content differs");
    let names: Vec<_> = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file.bin"]);
}

fn assert_nothing(folder: &Path) {
    assert!(!folder.join("file.bin").exists());
}

/// Downloads once through `handler` and expects the whole file.
fn expect_whole(
    length: usize,
    handler: impl Fn(&support::server::Request, &Arc<Vec<u8>>) -> Reply + Send + Sync + 'static,
) -> (Server, Downloaded) {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(length));
    let for_server = Arc::clone(&body);
    let server = Server::start(move |request| handler(request, &for_server));
    let done = get(&server, folder.path(), &body).unwrap();
    assert_whole(folder.path(), &body);
    assert_eq!(done.sha256, Sha256Digest::of(&body));
    (server, done)
}

const LENGTH: usize = 3 * MIB as usize + 4321;

#[test]
fn a_good_server_is_asked_in_slices_once_each() {
    let (server, done) = expect_whole(LENGTH, |request, body| Reply::file(request, body, ETAG));
    assert_eq!(done.fetched, Bytes(LENGTH as u64));
    assert_eq!(server.requests().len(), LENGTH.div_ceil(256 << 10));
    assert_eq!(server.sent(), LENGTH as u64);
}

#[test]
fn a_small_and_an_empty_file() {
    expect_whole(10, |request, body| Reply::file(request, body, ETAG));
    expect_whole(0, |request, body| Reply::file(request, body, ETAG));
    expect_whole(0, |_, _| Reply::new(200, ""));
}

#[test]
fn cuts_cost_nothing_that_had_arrived() {
    let (server, done) = expect_whole(LENGTH, |request, body| {
        let reply = Reply::file(request, body, ETAG);
        if request.number % 2 == 0 { reply.cut_after(100_000) } else { reply }
    });
    assert_eq!(done.fetched, Bytes(LENGTH as u64));
    assert!(server.requests().len() > LENGTH.div_ceil(256 << 10));
}

#[test]
fn a_stall_gets_a_new_connection() {
    let began = Instant::now();
    expect_whole(LENGTH, |request, body| {
        let reply = Reply::file(request, body, ETAG);
        if request.number == 3 { reply.stall_after(5000) } else { reply }
    });
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_without_ranges_is_read_as_one_stream() {
    let (server, _) = expect_whole(LENGTH, |_, body| Reply::new(200, body.to_vec()));
    assert_eq!(server.requests().len(), 1);
    // And begun again when it is cut.
    expect_whole(LENGTH, |request, body| {
        let reply = Reply::new(200, body.to_vec());
        if request.number == 0 { reply.cut_after(1_000_000) } else { reply }
    });
}

#[test]
fn ranges_that_turn_into_200_are_never_appended() {
    expect_whole(LENGTH, |request, body| {
        let reply = Reply::file(request, body, ETAG);
        if request.number >= 2 { Reply::new(200, body.to_vec()).header("ETag", ETAG) } else { reply }
    });
}

#[test]
fn a_wrong_content_range_is_never_written() {
    let shifted = |request: &support::server::Request, body: &Arc<Vec<u8>>| {
        let reply = Reply::file(request, body, ETAG);
        if reply.status != 206 {
            return reply;
        }
        let text = format!("bytes {}-{}/{}", reply.part.start + 1, reply.part.end, body.len() + 1);
        reply.header("Content-Range", text)
    };
    // Once: asked again. Always: asked without ranges.
    expect_whole(
        LENGTH,
        move |request, body| {
            if request.number == 4 { shifted(request, body) } else { Reply::file(request, body, ETAG) }
        },
    );
    expect_whole(LENGTH, shifted);
}

#[test]
fn a_file_that_changes_in_the_middle_is_begun_again() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let old = Arc::new(vec![7; LENGTH]);
    let new = Arc::clone(&body);
    let server = Server::start(move |request| {
        if request.number < 5 { Reply::file(request, &old, "\"old\"") } else { Reply::file(request, &new, ETAG) }
    });
    get(&server, folder.path(), &body).unwrap();
    assert_whole(folder.path(), &body);
}

#[test]
fn a_signed_url_that_expires_is_asked_for_again() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let served = Arc::clone(&body);
    let uses = std::sync::Mutex::new(Vec::<u32>::new());
    let server = Server::start(move |request| {
        let mut uses = uses.lock().unwrap();
        let Some((_, number)) = request.path.split_once("?signature=") else {
            uses.push(0);
            return Reply::redirect(format!("/blob?signature={}", uses.len() - 1));
        };
        let used = &mut uses[number.parse::<usize>().unwrap()];
        *used += 1;
        if *used > 4 { Reply::new(403, "expired") } else { Reply::file(request, &served, ETAG) }
    });
    get(&server, folder.path(), &body).unwrap();
    assert_whole(folder.path(), &body);
    assert!(server.paths().iter().filter(|path| *path == "/file").count() >= 2);
}

#[test]
fn a_busy_server_is_waited_for() {
    let began = Instant::now();
    expect_whole(LENGTH, |request, body| match request.number {
        0 => Reply::new(503, "busy"),
        3 => Reply::new(429, "slow down").header("Retry-After", "1"),
        _ => Reply::file(request, body, ETAG),
    });
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_server_that_asks_for_an_hour_is_not_waited_for() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::new(429, "").header("Retry-After", "3600"));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::AskedToWait { wait, .. } if wait.as_secs() == 3600), "{error}");
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let mut bad = body.to_vec();
    bad[1_000_000] ^= 1;
    let bad = Arc::new(bad);
    let server = Server::start(move |request| Reply::file(request, &bad, ETAG));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_part_is_fetched_again() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let served = Arc::clone(&body);
    let server =
        Server::start(
            move |request| {
                if request.number == 6 { Reply::new(404, "") } else { Reply::file(request, &served, ETAG) }
            },
        );
    assert!(get(&server, folder.path(), &body).is_err());
    assert_nothing(folder.path());
    // The disk forgot what it had promised.
    let part = folder.path().join("file.bin.part");
    let length = fs_err::metadata(&part).unwrap().len();
    fs_err::write(&part, vec![0; length as usize]).unwrap();
    get(&server, folder.path(), &body).unwrap();
    assert_whole(folder.path(), &body);
}

#[test]
fn another_size_than_promised_is_refused_before_the_body() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let longer = content(LENGTH + 1);
    let server = Server::start(move |request| Reply::file(request, &longer, ETAG));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::Size { .. }), "{error}");
}

#[test]
fn a_login_page_is_not_the_file() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::new(200, "<html>log in").header("Content-Type", "text/html; charset=utf-8"));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::WebPage { .. }), "{error}");
}

#[test]
fn a_missing_file_is_asked_for_once() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::new(404, "{\"message\": \"Not Found\"}"));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(&error, Error::Status { status: 404, message, .. } if message == "Not Found"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_redirect_to_a_strange_host_is_refused_and_the_token_stays_home() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let stranger = Server::start(|_| Reply::new(200, "never"));
    // Another name of loopback is another host.
    let to = format!("http://localhost:{}/x?signature=secret", stranger.port());
    let server = Server::start(move |_| Reply::redirect(to.clone()));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::RedirectRefused { .. }), "{error}");
    assert!(!error.to_string().contains("secret"));

    let any = Ask::get(server.url("/").parse().unwrap(), Redirects::Any).authorized(Secret::bearer("private"));
    client().send(&any).unwrap();
    assert_eq!(server.requests().last().unwrap().header("authorization"), Some("Bearer private"));
    let seen = stranger.requests();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[test]
fn redirects_in_circles_end() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::redirect("/again"));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::TooManyRedirects { .. }), "{error}");
}

#[test]
fn slow_connections_add_up() {
    let began = Instant::now();
    // 3 MiB at 1 MiB a second each: alone 3 s, four at once under 1.5 s.
    expect_whole(3 << 20, |request, body| Reply::file(request, body, ETAG).pace(1 << 20));
    assert!(began.elapsed() < Duration::from_millis(2200), "{:?}", began.elapsed());
}

#[test]
fn a_second_process_is_kept_away() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let lock = fs_err::File::create(folder.path().join("file.bin.part.lock")).unwrap();
    lock.file().lock().unwrap();
    let server = Server::start(|_| Reply::new(200, "never"));
    let error = get(&server, folder.path(), &body).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[test]
fn no_network_means_no_network() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::new(200, "never"));
    let client = Client::new(Settings { offline: true, ..Settings::default() }).unwrap();
    let error = download(&client, &request(&server, folder.path(), &body), &Silent).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_path_that_cannot_be_is_refused_before_the_network() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(10));
    let server = Server::start(|_| Reply::new(200, "never"));
    let mut request = request(&server, folder.path(), &body);
    request.destination = folder.path().join("x".repeat(300));
    let error = download(&client(), &request, &Silent).unwrap_err();
    assert!(matches!(error, Error::PathTooLong { .. }), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn the_first_bytes_may_end_it_early() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let served = Arc::clone(&body);
    let server = Server::start(move |request| Reply::file(request, &served, ETAG).pace(1 << 20));
    let mut request = request(&server, folder.path(), &body);
    request.sniff = Some(|bytes| if bytes.starts_with(b"GGUF") { Ok(()) } else { Err("no GGUF".to_owned()) });
    let error = download(&client(), &request, &Silent).unwrap_err();
    assert!(matches!(error, Error::Content { .. }), "{error}");
    assert!(server.sent() < LENGTH as u64 / 2);
}

#[test]
fn an_interrupted_download_goes_on_where_it_was() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let served = Arc::clone(&body);
    let server =
        Server::start(
            move |request| {
                if request.number == 7 { Reply::new(404, "") } else { Reply::file(request, &served, ETAG) }
            },
        );
    assert!(get(&server, folder.path(), &body).is_err());
    assert_nothing(folder.path());
    let done = get(&server, folder.path(), &body).unwrap();
    assert_whole(folder.path(), &body);
    assert!(done.fetched < Bytes(LENGTH as u64 * 3 / 4), "{}", done.fetched);
    // And a third time costs nothing at all.
    let before = server.requests().len();
    assert_eq!(get(&server, folder.path(), &body).unwrap().fetched, Bytes(0));
    assert_eq!(server.requests().len(), before);
}

#[test]
fn no_slice_carries_the_token_to_another_host() {
    let (folder, body) = (tempfile::tempdir().unwrap(), content(LENGTH));
    let served = Arc::clone(&body);
    let storage = Server::start(move |request| Reply::file(request, &served, ETAG));
    let to = format!("http://localhost:{}/blob", storage.port());
    let server = Server::start(move |_| Reply::redirect(to.clone()));
    let mut request = request(&server, folder.path(), &body);
    (request.authorization, request.redirects) = (Secret::bearer("private"), Redirects::Any);
    download(&client(), &request, &Silent).unwrap();
    assert_whole(folder.path(), &body);
    assert!(storage.requests().len() > 4);
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Bearer private")));
}
