//! GitHub on loopback: releases from `tests/releases/`, the pointer file, the API, the page and the feed, and redirects
//! to a second server that holds the files.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use llama_doctor::net::digest::Sha256Digest;
use serde_json::{Value, json};

use super::server::{Reply, Request, Server};

/// What a test may change while the server runs.
#[derive(Default)]
pub struct State {
    pub releases: Vec<Value>,
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    pub stable: Option<String>,
    /// The API answers as to a caller whose sixty requests are spent.
    pub api_exhausted: bool,
    /// What the API knows of attestations: one bundle for every file.
    pub attestation: Option<Value>,
    /// The API refuses every token.
    pub bad_token: bool,
    /// Where files are said to be, instead of the second server.
    pub redirect_to: Option<String>,
    /// The files' server changes one byte of each.
    pub tampered: bool,
}

pub struct Github {
    pub web: Server,
    pub files: Server,
    pub state: Arc<Mutex<State>>,
}

const REPOSITORY: &str = "/ggml-org/llama.cpp";

impl Github {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let for_files = Arc::clone(&state);
        let files = Server::start(move |request| {
            let state = for_files.lock().unwrap();
            let name = request.path.rsplit('/').next().unwrap().split('?').next().unwrap();
            let Some(file) = state.files.get(name) else { return Reply::new(404, "") };
            let mut file = Arc::clone(file);
            if state.tampered {
                let at = file.len() / 2;
                Arc::make_mut(&mut file)[at] ^= 1;
            }
            Reply::file(request, &file, &format!("\"{name}\""))
        });
        let (for_web, port) = (Arc::clone(&state), files.port());
        let web = Server::start(move |request| answer(&for_web.lock().unwrap(), port, request));
        Self { web, files, state }
    }

    /// The same GitHub for a server of another kind: pages, API and files in one.
    pub fn everything(&self) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
        let (state, port) = (Arc::clone(&self.state), self.files.port());
        move |request| {
            let state = state.lock().unwrap();
            if let Some(name) = request.path.strip_prefix("/blob/") {
                let name = name.split('?').next().unwrap();
                return Reply::file(request, &state.files[name], &format!("\"{name}\""));
            }
            answer(&state, port, request)
        }
    }

    /// Adds a recorded release. Those of its files that are given get their size and digest; the others are empty.
    pub fn add(&self, recorded: &str, files: &[(&str, Vec<u8>)]) {
        let mut release: Value = serde_json::from_str(recorded).unwrap();
        let mut state = self.state.lock().unwrap();
        for asset in release["assets"].as_array_mut().unwrap() {
            let name = asset["name"].as_str().unwrap().to_owned();
            let content =
                files.iter().find(|(known, _)| *known == name).map_or_else(Vec::new, |(_, bytes)| bytes.clone());
            asset["size"] = json!(content.len());
            asset["digest"] = json!(format!("sha256:{}", Sha256Digest::of(&content)));
            state.files.insert(name, Arc::new(content));
        }
        state.releases.push(release);
    }
}

fn answer(state: &State, files_port: u16, request: &Request) -> Reply {
    let path = request.path.as_str();
    if path.starts_with("/repos/ggml-org/llama.cpp/attestations/sha256:") {
        if state.api_exhausted {
            return Reply::new(403, r#"{"message": "API rate limit exceeded"}"#).header("x-ratelimit-remaining", "0");
        }
        return state.attestation.as_ref().map_or_else(
            || Reply::new(404, r#"{"message": "Not Found"}"#),
            |bundle| Reply::new(200, json!({"attestations": [{"bundle": bundle, "repository_id": 1}]}).to_string()),
        );
    }
    if let Some(api) = path.strip_prefix("/repos/ggml-org/llama.cpp/releases") {
        if state.bad_token && request.header("authorization").is_some() {
            return Reply::new(401, r#"{"message": "Bad credentials"}"#);
        }
        if state.api_exhausted {
            return Reply::new(403, r#"{"message": "API rate limit exceeded"}"#)
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "4000000000");
        }
        return match api.strip_prefix("/tags/") {
            Some(tag) => {
                release(state, tag).map_or_else(|| Reply::new(404, "{}"), |it| Reply::new(200, it.to_string()))
            }
            None => Reply::new(200, Value::Array(state.releases.clone()).to_string()).header("ETag", "\"list\""),
        };
    }
    let Some(path) = path.strip_prefix(REPOSITORY) else { return Reply::new(404, "") };
    if path == "/releases.atom" {
        let links = state.releases.iter().map(|it| it["tag_name"].as_str().unwrap());
        let links: Vec<_> = links.map(|tag| format!("<link href=\"{REPOSITORY}/releases/tag/{tag}\"/>")).collect();
        return Reply::new(200, links.concat());
    }
    if let Some(tag) = path.strip_prefix("/releases/expanded_assets/") {
        let Some(it) = release(state, tag) else { return Reply::new(404, "") };
        let row = |asset: &Value| {
            let (name, digest) = (asset["name"].as_str().unwrap(), asset["digest"].as_str().unwrap_or_default());
            format!("<a href=\"{REPOSITORY}/releases/download/{tag}/{name}\">{name}</a><span>{digest}</span>")
        };
        let rows: Vec<_> = it["assets"].as_array().unwrap().iter().map(row).collect();
        return Reply::new(200, rows.concat()).header("Content-Type", "text/html; charset=utf-8");
    }
    if path.ends_with("/nightly-tag.txt") {
        return state.stable.as_ref().map_or_else(|| Reply::new(404, ""), |tag| Reply::new(200, format!("{tag}\n")));
    }
    if let Some(name) = path.strip_prefix("/releases/download/") {
        let name = name.rsplit('/').next().unwrap();
        let place = state.redirect_to.clone().unwrap_or_else(|| format!("http://127.0.0.1:{files_port}"));
        return Reply::redirect(format!("{place}/blob/{name}?signature=secret"));
    }
    Reply::new(404, "")
}

fn release<'a>(state: &'a State, tag: &str) -> Option<&'a Value> {
    state.releases.iter().find(|release| release["tag_name"] == tag)
}
