//! A Hugging Face hub on loopback: the calls and headers that the real one documents, with the files on a second server,
//! behind addresses that expire.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llama_doctor::net::digest::Sha256Digest;

use super::server::{Reply, Request, Server};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What the hub calls small files: git's own hash of them.
pub const GIT_HASH: &str = "89abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone)]
pub struct File {
    pub name: String,
    pub body: Arc<Vec<u8>>,
    pub sha256: String,
}

/// How the hub behaves; every switch can be turned while it runs.
#[derive(Default)]
pub struct Mood {
    /// Files are for people who accepted the terms: for none.
    pub gated: AtomicBool,
    /// Only requests with this token's header see the repository.
    pub private: AtomicBool,
    /// A token is refused, as the hub does with one that it does not know.
    pub refuses_tokens: AtomicBool,
    /// So many requests are answered 429 first.
    pub rate_limits: AtomicUsize,
    /// Every signed address answers 403 after so many uses (0: never).
    pub signature_uses: AtomicUsize,
    /// The tree comes in pages of this many entries (0: one page).
    pub page: AtomicUsize,
    /// Every answer of the file server stalls or is cut in the middle this many times.
    pub troubles: AtomicUsize,
    /// The listing gives no sha256, as some mirrors do.
    pub hides_hashes: AtomicBool,
    /// The file server flips a byte.
    pub corrupts: AtomicBool,
    /// Bytes a second of each connection to the file server (0: as fast as it goes).
    pub pace: AtomicUsize,
}

pub struct Hub {
    pub server: Server,
    pub cdn: Server,
    pub mood: Arc<Mood>,
}

impl Hub {
    /// Serves one repository, `org/name`.
    pub fn start(repository: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let files: Arc<Vec<File>> = Arc::new(
            files
                .iter()
                .map(|(name, body)| File {
                    name: (*name).to_owned(),
                    sha256: Sha256Digest::of(body).to_string(),
                    body: Arc::new(body.clone()),
                })
                .collect(),
        );
        let mood = Arc::new(Mood::default());
        let cdn = {
            let (files, mood) = (Arc::clone(&files), Arc::clone(&mood));
            let uses = AtomicUsize::new(0);
            Server::start(move |request| serve_file(&files, &mood, &uses, request))
        };
        let server = {
            let (mood, cdn, repository) = (Arc::clone(&mood), cdn.url(""), repository.to_owned());
            let signatures = AtomicUsize::new(0);
            Server::start(move |request| {
                let signature = signatures.fetch_add(1, Ordering::Relaxed);
                answer(&repository, &files, &mood, &cdn, signature, request)
            })
        };
        Self { server, cdn, mood }
    }

    /// The program, set up to use this hub and the folder as its home, with nothing of the machine's own settings.
    pub fn program(&self, home: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama-doctor"));
        for name in
            ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME"]
        {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", self.server.url(""))
            .env("MODELSCOPE_DOMAIN", self.server.url(""))
            .env("HF_HOME", home.join("hf"))
            .env("HOME", home)
            .env("USERPROFILE", home)
            .env("LLAMA_DOCTOR_HOME", home.join("doctor"))
            .current_dir(home);
        command
    }

    pub fn run(&self, home: &Path, arguments: &[&str]) -> Output {
        self.program(home).args(arguments).output().unwrap()
    }
}

/// The repository's folder in the cache of a home.
pub fn cache(home: &Path, repository: &str) -> PathBuf {
    home.join("hf/hub").join(format!("models--{}", repository.replace('/', "--")))
}

fn answer(repository: &str, files: &[File], mood: &Mood, cdn: &str, signature: usize, request: &Request) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let refused = |status, code: &str, message: &str| {
        let body = format!("{{\"error\": \"{message}\"}}");
        let reply = Reply::new(status, body).header("X-Error-Message", message);
        if code.is_empty() { reply } else { reply.header("X-Error-Code", code) }
    };
    if mood.refuses_tokens.load(Ordering::Relaxed) && request.header("authorization").is_some() {
        return refused(401, "", "Invalid credentials in Authorization header");
    }
    if mood.private.load(Ordering::Relaxed) && request.header("authorization") != Some("Bearer hf_good") {
        return refused(401, "RepoNotFound", "Repository not found");
    }
    if mood.rate_limits.load(Ordering::Relaxed) > 0 {
        mood.rate_limits.fetch_sub(1, Ordering::Relaxed);
        return refused(429, "", "Too many requests").header("RateLimit", "\"api\";r=0;t=1");
    }
    let api = format!("/api/models/{repository}/");
    if let Some(call) = path.strip_prefix(&api) {
        return match call {
            "refs" => json(format!(
                r#"{{"branches": [{{"name": "main", "ref": "refs/heads/main", "targetCommit": "{COMMIT}"}}], "converts": [], "tags": []}}"#
            )),
            "revision/main" => json(info(files)),
            _ if call == format!("tree/{COMMIT}") => tree(repository, files, mood, request, query),
            _ if call.starts_with("revision/") => refused(404, "RevisionNotFound", "Invalid rev id"),
            _ => refused(404, "", "no such call"),
        };
    }
    if path == format!("/api/models/{repository}") {
        return json(info(files));
    }
    if path == format!("/api/v1/models/{repository}/repo/files") {
        return json(modelscope(files));
    }
    let resolve = path
        .strip_prefix(&format!("/{repository}/resolve/{COMMIT}/"))
        .or_else(|| path.strip_prefix(&format!("/{repository}/resolve/main/")))
        .or_else(|| path.strip_prefix(&format!("/models/{repository}/resolve/master/")));
    let Some(name) = resolve else { return refused(401, "RepoNotFound", "Repository not found") };
    if mood.gated.load(Ordering::Relaxed) {
        let message = format!("Access to model {repository} is restricted. You must be authenticated to access it.");
        return refused(401, "GatedRepo", &message);
    }
    let name = name.replace("%20", " ");
    let Some(file) = files.iter().find(|file| file.name == name) else {
        return refused(404, "EntryNotFound", "Entry not found");
    };
    let head = |reply: Reply| {
        reply
            .header("X-Repo-Commit", COMMIT)
            .header("X-Linked-Size", file.body.len().to_string())
            .header("Accept-Ranges", "bytes")
    };
    if !is_large(&file.name) {
        return head(Reply::file(request, &file.body, &format!("\"{GIT_HASH}\"")));
    }
    head(Reply::redirect(format!("{cdn}/{}?Signature={signature}", file.sha256)))
        .header("X-Linked-ETag", format!("\"{}\"", file.sha256))
        .header("X-Xet-Hash", file.sha256.chars().rev().collect::<String>())
        .header("Link", format!("<{cdn}/xet>; rel=\"xet-auth\""))
}

fn is_large(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "gguf")
}

fn json(text: String) -> Reply {
    Reply::new(200, text).header("Content-Type", "application/json; charset=utf-8")
}

fn info(files: &[File]) -> String {
    let siblings: Vec<String> = files.iter().map(|file| format!(r#"{{"rfilename": "{}"}}"#, file.name)).collect();
    format!(
        r#"{{"id": "org/name", "modelId": "org/name", "sha": "{COMMIT}", "private": false, "gated": false, "disabled": false,
             "downloads": 1, "likes": 0, "tags": [], "siblings": [{}]}}"#,
        siblings.join(", ")
    )
}

fn tree(repository: &str, files: &[File], mood: &Mood, request: &Request, query: &str) -> Reply {
    let hides = mood.hides_hashes.load(Ordering::Relaxed);
    let entries: Vec<String> = files
        .iter()
        .map(|file| {
            let size = file.body.len();
            let lfs = if is_large(&file.name) && !hides {
                format!(r#", "lfs": {{"oid": "{}", "size": {size}, "pointerSize": 135}}, "xetHash": "x""#, file.sha256)
            } else {
                String::new()
            };
            format!(r#"{{"type": "file", "oid": "{GIT_HASH}", "size": {size}, "path": "{}"{lfs}}}"#, file.name)
        })
        .collect();
    let page = mood.page.load(Ordering::Relaxed);
    if page == 0 {
        return json(format!("[{}]", entries.join(", ")));
    }
    let start: usize =
        query.split('&').find_map(|part| part.strip_prefix("cursor=")).map_or(0, |cursor| cursor.parse().unwrap());
    let end = (start + page).min(entries.len());
    let reply = json(format!("[{}]", entries[start..end].join(", ")));
    if end == entries.len() {
        return reply;
    }
    let host = request.header("host").unwrap();
    let next = format!("http://{host}/api/models/{repository}/tree/{COMMIT}?recursive=true&cursor={end}");
    reply.header("Link", format!("<{next}>; rel=\"next\""))
}

fn modelscope(files: &[File]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| {
            format!(
                r#"{{"Path": "{0}", "Name": "{0}", "Size": {1}, "Type": "blob", "IsLFS": true, "Sha256": "{2}", "Revision": "{COMMIT}"}}"#,
                file.name,
                file.body.len(),
                file.sha256
            )
        })
        .collect();
    format!(r#"{{"Code": 200, "Data": {{"Files": [{}]}}, "Message": "", "Success": true}}"#, files.join(", "))
}

fn serve_file(files: &[File], mood: &Mood, uses: &AtomicUsize, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap();
    let Some(file) = files.iter().find(|file| path == format!("/{}", file.sha256)) else { return Reply::new(404, "") };
    assert!(request.header("authorization").is_none(), "a token came to the file server");
    let limit = mood.signature_uses.load(Ordering::Relaxed);
    if limit > 0 && uses.fetch_add(1, Ordering::Relaxed) % (limit + 1) == limit {
        return Reply::new(403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
    }
    let body = if mood.corrupts.load(Ordering::Relaxed) {
        let mut bytes = file.body.as_ref().clone();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        Arc::new(bytes)
    } else {
        Arc::clone(&file.body)
    };
    let mut reply = Reply::file(request, &body, &format!("\"cdn-{}\"", &file.sha256[..8]));
    let pace = mood.pace.load(Ordering::Relaxed);
    if pace > 0 {
        reply = reply.pace(pace as u64);
    }
    let trouble = mood.troubles.load(Ordering::Relaxed);
    if trouble > 0 {
        mood.troubles.fetch_sub(1, Ordering::Relaxed);
        return reply.cut_after(70_000 * trouble);
    }
    reply
}
