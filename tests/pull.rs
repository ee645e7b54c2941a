//! `pull` against a hub on loopback: the cache that it writes, what it does when things go wrong, and what it says.

#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use llama_doctor::net::digest::Sha256Digest;
use support::gguf::Gguf;
use support::hub::{COMMIT, Hub, cache};
use support::server::{Reply, Server};

const REPOSITORY: &str = "org/Tiny-GGUF";

/// A model with some bulk behind its header, different for each `seed`.
fn model(seed: u32) -> Vec<u8> {
    Gguf::llama()
        .text("general.description", &format!("seed {seed}"))
        .tensor("output.weight", 300_000 + u64::from(seed))
        .file()
}

fn hub() -> Hub {
    Hub::start(
        REPOSITORY,
        &[
            ("README.md", b"# Tiny\n".to_vec()),
            ("tiny-Q4_K_M.gguf", model(1)),
            ("tiny-Q8_0.gguf", model(2)),
            ("mmproj-tiny-F16.gguf", model(3)),
        ],
    )
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_pulled(home: &Path, name: &str, body: &[u8]) {
    let folder = cache(home, REPOSITORY);
    let path = folder.join("snapshots").join(COMMIT).join(name);
    assert!(fs_err::read(&path).unwrap() == body, "{name} differs");
    let blob = folder.join("blobs").join(Sha256Digest::of(body).to_string());
    #[cfg(unix)]
    assert_eq!(fs_err::canonicalize(&path).unwrap(), fs_err::canonicalize(&blob).unwrap());
    assert_eq!(fs_err::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert!(!blob.with_extension("part").exists());
}

#[test]
fn a_model_and_its_projector_come_into_the_shared_cache() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["pull", REPOSITORY]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_pulled(home.path(), "tiny-Q4_K_M.gguf", &model(1));
    assert_pulled(home.path(), "mmproj-tiny-F16.gguf", &model(3));
    assert!(!cache(home.path(), REPOSITORY).join("snapshots").join(COMMIT).join("tiny-Q8_0.gguf").exists());
    let text = stdout(&output);
    assert!(text.contains("sha256 checked") && text.contains("llama-doctor fit"), "{text}");
}

#[test]
fn what_is_here_is_checked_and_not_fetched_again() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    hub.run(home.path(), &["pull", "--no-mmproj", REPOSITORY]);
    let asked = hub.cdn.requests().len();
    let output = hub.run(home.path(), &["--json", "pull", "--no-mmproj", REPOSITORY]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["models"][0]["files"][0]["fetched_bytes"], 0);
    assert_eq!(hub.cdn.requests().len(), asked);

    // A blob that another program wrote is taken over; one that is damaged is not.
    let blob = cache(home.path(), REPOSITORY).join("blobs").join(Sha256Digest::of(&model(1)).to_string());
    let mut damaged = model(1);
    damaged[2000] ^= 1;
    fs_err::write(&blob, damaged).unwrap();
    let output = hub.run(home.path(), &["pull", "--no-mmproj", REPOSITORY]);
    assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
    assert_pulled(home.path(), "tiny-Q4_K_M.gguf", &model(1));
}

#[test]
fn partial_files_of_other_tools_are_left_alone() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let blobs = cache(home.path(), REPOSITORY).join("blobs");
    fs_err::create_dir_all(&blobs).unwrap();
    let sha256 = Sha256Digest::of(&model(2));
    let others = [format!("{sha256}.incomplete"), format!("{sha256}.downloadInProgress")];
    for other in &others {
        fs_err::write(blobs.join(other), "half").unwrap();
    }
    let output = hub.run(home.path(), &["pull", &format!("{REPOSITORY}:Q8_0")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_pulled(home.path(), "tiny-Q8_0.gguf", &model(2));
    for other in &others {
        assert_eq!(fs_err::read_to_string(blobs.join(other)).unwrap(), "half");
    }
}

#[test]
fn trouble_on_the_way_is_survived() {
    for set in [
        |hub: &Hub| hub.mood.rate_limits.store(2, Relaxed),
        |hub: &Hub| hub.mood.troubles.store(3, Relaxed),
        |hub: &Hub| hub.mood.signature_uses.store(1, Relaxed),
        |hub: &Hub| hub.mood.page.store(1, Relaxed),
        |hub: &Hub| hub.mood.hides_hashes.store(true, Relaxed),
    ] {
        let (hub, home) = (hub(), tempfile::tempdir().unwrap());
        set(&hub);
        let output = hub.run(home.path(), &["pull", "--no-mmproj", REPOSITORY]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_pulled(home.path(), "tiny-Q4_K_M.gguf", &model(1));
    }
}

#[test]
fn refusals_are_told_in_the_hubs_words_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let check = |hub: &Hub, name: &str, code: i32, words: &[&str]| {
        let output = hub.run(home.path(), &["pull", name]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        for word in words {
            assert!(stderr(&output).contains(word), "`{word}` is not in: {}", stderr(&output));
        }
    };
    let hub = hub();
    hub.mood.gated.store(true, Relaxed);
    check(
        &hub,
        REPOSITORY,
        4,
        &["Access to model org/Tiny-GGUF is restricted", "accept the terms at http", "HF_TOKEN"],
    );
    hub.mood.gated.store(false, Relaxed);
    check(&hub, "org/none", 4, &["has no `org/none`, or it is private", "HF_TOKEN"]);
    check(&hub, &format!("{REPOSITORY}:Q2_K"), 2, &["Q2_K", "org/Tiny-GGUF:Q8_0"]);
    check(&hub, &format!("{REPOSITORY}/none.gguf"), 2, &["none.gguf"]);
    hub.mood.corrupts.store(true, Relaxed);
    check(&hub, REPOSITORY, 5, &["tiny-Q4_K_M.gguf", "sha256"]);
    assert!(!cache(home.path(), REPOSITORY).join("snapshots").exists());
}

#[test]
fn a_rate_limit_of_minutes_is_told_instead_of_waited_for() {
    let (home, hub) = (
        tempfile::tempdir().unwrap(),
        Server::start(|_| Reply::new(429, "slow down").header("RateLimit", "\"api\";r=0;t=290")),
    );
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(["pull", REPOSITORY])
        .env("HF_ENDPOINT", hub.url(""))
        .env("HF_HOME", home.path())
        .env("LLAMA_DOCTOR_HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("290 s"), "{}", stderr(&output));
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn tokens_open_private_models_and_bad_ones_do_not_close_public_ones() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    hub.mood.private.store(true, Relaxed);
    fs_err::create_dir_all(home.path().join("hf")).unwrap();
    fs_err::write(home.path().join("hf/token"), "hf_good\n").unwrap();
    let output = hub.run(home.path(), &["pull", "--no-mmproj", REPOSITORY]);
    assert!(output.status.success(), "{}", stderr(&output));

    let (hub, home) = (self::hub(), tempfile::tempdir().unwrap());
    hub.mood.refuses_tokens.store(true, Relaxed);
    let output = hub.program(home.path()).env("HF_TOKEN", "hf_old").args(["pull", "--no-mmproj", REPOSITORY]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("does not know this token"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hf_old"));
}

#[test]
fn split_models_are_whole_or_refused() {
    let shard = |number: u16| Gguf::llama().u16("split.no", number).u16("split.count", 2).file();
    let (first, second) = (("big-Q8_0-00001-of-00002.gguf", shard(0)), ("big-Q8_0-00002-of-00002.gguf", shard(1)));
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start(REPOSITORY, &[first.clone(), second]);
    let output = hub.run(home.path(), &["pull", REPOSITORY]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_pulled(home.path(), "big-Q8_0-00002-of-00002.gguf", &shard(1));

    let hub = Hub::start(REPOSITORY, &[first]);
    let output = hub.run(home.path(), &["pull", REPOSITORY]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("big-Q8_0-00002-of-00002.gguf"), "{}", stderr(&output));
}

#[test]
fn hostile_repositories_write_nothing_outside_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let hub = Hub::start(
        REPOSITORY,
        &[
            ("../../../../evil-Q4_K_M.gguf", model(1)),
            ("/tmp/evil-Q4_K_M.gguf", model(1)),
            ("preset.ini", b"[*]\nhost = 0.0.0.0\n".to_vec()),
            ("page-Q8_0.gguf", b"<!DOCTYPE html><html>".repeat(50)),
            ("pointer-F16.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec()),
        ],
    );
    let output = hub.run(home.path(), &["pull", &format!("{REPOSITORY}:Q4_K_M")]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = hub.run(home.path(), &["pull", &format!("{REPOSITORY}:Q8_0")]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("web page"), "{}", stderr(&output));
    let output = hub.run(home.path(), &["pull", &format!("{REPOSITORY}:F16")]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("LFS pointer"), "{}", stderr(&output));
    let mut names: Vec<_> = fs_err::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["hf"]);
}

#[test]
fn plain_files_go_where_they_are_wanted() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["pull", "--to", "here", "--no-mmproj", &format!("{REPOSITORY}:Q8_0")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs_err::read(home.path().join("here/tiny-Q8_0.gguf")).unwrap() == model(2));
    let url = hub.server.url(&format!("/{REPOSITORY}/resolve/main/tiny-Q4_K_M.gguf"));
    let output = hub.run(home.path(), &["pull", "--to", "here", "--no-mmproj", &url]);
    assert!(output.status.success(), "{}", stderr(&output));
    let cdn = hub.cdn.url(&format!("/{}", Sha256Digest::of(&model(1))));
    let output = hub.run(home.path(), &["pull", &format!("{cdn}/x.gguf")]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    fs_err::write(home.path().join("here/tiny-Q8_0.gguf"), "mine").unwrap();
    let output = hub.run(home.path(), &["pull", "--to", "here", "--no-mmproj", &format!("{REPOSITORY}:Q8_0")]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(fs_err::read_to_string(home.path().join("here/tiny-Q8_0.gguf")).unwrap(), "mine");
}

/// Of a server that says no digest, the version that it names tells whether the file is still the one that was fetched.
#[test]
fn an_address_is_fetched_again_only_when_its_version_changed() {
    let home = tempfile::tempdir().unwrap();
    let version = Arc::new(AtomicU32::new(1));
    let server = {
        let version = Arc::clone(&version);
        Server::start(move |request| {
            let version = version.load(Relaxed);
            // Of one length, so that only the version tells them apart.
            let mut body = model(1);
            *body.last_mut().unwrap() ^= version as u8;
            Reply::file(request, &Arc::new(body), &format!("\"v{version}\""))
        })
    };
    let hub = hub();
    let pull = || {
        let url = server.url("/files/tiny.gguf");
        let output = hub.run(home.path(), &["--json", "pull", "--to", "here", &url]);
        assert!(output.status.success(), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["models"][0]["files"][0]["fetched_bytes"].as_u64().unwrap()
    };
    assert!(pull() > 0);
    assert_eq!(pull(), 0, "the same version is here");
    version.store(2, Relaxed);
    assert!(pull() > 0, "another version of the same length");
    assert_eq!(fs_err::read(home.path().join("here/tiny.gguf")).unwrap().last(), Some(&(model(1).last().unwrap() ^ 2)));
}

#[test]
fn modelscope_has_its_own_words_for_the_same() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["pull", "--no-mmproj", &format!("ms:{REPOSITORY}")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let path =
        home.path().join("doctor/modelscope/models--org--Tiny-GGUF/snapshots").join(COMMIT).join("tiny-Q4_K_M.gguf");
    assert!(fs_err::read(path).unwrap() == model(1));
}

#[test]
fn offline_the_cache_is_enough_and_the_hub_is_not_asked() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["--offline", "pull", REPOSITORY]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    hub.run(home.path(), &["pull", REPOSITORY]);
    let asked = hub.server.requests().len();
    let output = hub.program(home.path()).env("HF_HUB_OFFLINE", "1").args(["pull", REPOSITORY]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(hub.server.requests().len(), asked);
}

/// Killed at points spread over the whole download, a pull leaves nothing that looks finished, and the next one goes on.
#[test]
fn a_kill_at_any_point_costs_little() {
    let body = Gguf::llama().tensor("output.weight", 3_000_000).file();
    let hub = Hub::start(REPOSITORY, &[("tiny-Q8_0.gguf", body.clone())]);
    hub.mood.pace.store(6 << 20, Relaxed);
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache(home.path(), REPOSITORY).join("snapshots").join(COMMIT).join("tiny-Q8_0.gguf");
    let mut kills = 0;
    for milliseconds in [40, 150, 260, 370, 480, 590, 700, 250, 350] {
        let mut child = hub.program(home.path()).args(["-q", "pull", REPOSITORY]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        if snapshot.exists() {
            assert!(fs_err::read(&snapshot).unwrap() == body);
        }
    }
    assert!(kills > 0);
    hub.mood.pace.store(0, Relaxed);
    let output = hub.run(home.path(), &["pull", REPOSITORY]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_pulled(home.path(), "tiny-Q8_0.gguf", &body);
    // Each kill loses at most what its connections had under way: the file did not come anew each time.
    assert!(hub.cdn.sent() < 3 * body.len() as u64, "{} for {}", hub.cdn.sent(), body.len());
}
