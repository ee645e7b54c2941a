//! `install --container` against a registry on loopback: honest images, and hostile ones.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;

use llama_doctor::net::digest::Sha256Digest;
use serde_json::json;
use support::archives::Tar;
use support::server::{Reply, Server};
use support::user::{User, code, elf, program, talk};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// An image of some layers, as a registry holds it.
struct Image {
    layers: Vec<Vec<u8>>,
    /// What made each of them.
    history: Vec<&'static str>,
    media_type: &'static str,
    architecture: &'static str,
    /// Blobs and documents by digest, and the index by tag.
    changed: fn(&mut BTreeMap<String, Vec<u8>>),
}

impl Image {
    fn of(layers: Vec<Vec<u8>>) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self { history: vec!["COPY /app"; layers.len()], layers, media_type: GZIP, architecture, changed: |_| {} }
    }

    /// Asks for a token and redirects its blobs.
    fn serve(self) -> Server {
        let entry = |bytes: &[u8], kind: &str| json!({"digest": digest(bytes), "size": bytes.len(), "mediaType": kind});
        let steps: Vec<_> = self.history.iter().map(|step| json!({"created_by": step})).collect();
        let config = json!({"history": steps}).to_string().into_bytes();
        let entries: Vec<_> = self.layers.iter().map(|layer| entry(layer, self.media_type)).collect();
        let manifest = json!({"config": entry(&config, ""), "layers": entries}).to_string().into_bytes();
        let platform = |os: &str, arch: &str| json!({"os": os, "architecture": arch});
        let index = json!({"manifests": [
            {"digest": digest(b"attestation"), "platform": platform("unknown", "unknown")},
            {"digest": digest(&manifest), "platform": platform("linux", self.architecture)},
        ]})
        .to_string()
        .into_bytes();
        let mut blobs: BTreeMap<String, Vec<u8>> =
            self.layers.into_iter().chain([config, manifest]).map(|bytes| (digest(&bytes), bytes)).collect();
        blobs.insert("server-cuda12-b11434".to_owned(), index);
        (self.changed)(&mut blobs);
        Server::start(move |request| {
            let name = request.path.rsplit('/').next().unwrap();
            if request.path.starts_with("/token?") {
                assert!(request.path.contains("repository%3Aggml-org%2Fllama.cpp%3Apull"), "{}", request.path);
                return Reply::new(200, r#"{"token": "anybody"}"#);
            }
            if request.path.starts_with("/blob/") {
                return Reply::file(request, &Arc::new(blobs[name].clone()), "\"blob\"");
            }
            if request.header("authorization") != Some("Bearer anybody") {
                let challenge =
                    format!("Bearer realm=\"http://{}/token\",service=\"test\"", request.header("host").unwrap());
                return Reply::new(401, "").header("WWW-Authenticate", challenge);
            }
            match blobs.get(name) {
                Some(_) if request.path.contains("/blobs/") => Reply::redirect(format!("/blob/{name}")),
                Some(document) => Reply::new(200, document.clone()),
                None => Reply::new(404, ""),
            }
        })
    }
}

fn pull(user: &User, registry: &Server, libc: &str) -> Output {
    let facts = user.machine("rtx-3090", "570.124.06", libc);
    let mut command = user.command(&["install", "--container", "--json", "--facts", &facts]);
    command.env("LLAMA_DOCTOR_CONTAINER_URL", registry.url("")).output().unwrap()
}

/// The names in the build's folder.
fn names(user: &User) -> Vec<String> {
    let folder = user.home().join("builds/b11434-cuda-12.8");
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_build_is_taken_out_of_a_container_image() {
    let user = User::new();
    let base = Tar::default()
        .file("var/lib/dpkg/info/libc6:amd64.list", "odd names of no interest")
        .file("usr/local/cuda-12.8/targets/x86_64-linux/lib/libcudart.so.12.8.90", elf())
        .link("usr/local/cuda-12.8/targets/x86_64-linux/lib/libcudart.so.12", "libcudart.so.12.8.90")
        .gz();
    let app = Tar::default()
        .program("app/llama-server", program())
        .file("app/libggml-cuda.so", elf())
        .file("app/gone.so", "x")
        .link("etc/escape", "/etc/passwd")
        .gz();
    let last = Tar::default().file("app/.wh.gone.so", "").file("app/LICENSE", "MIT").gz();
    let history = vec!["RUN apt-get install cuda-libraries-12-8", "COPY /app", "COPY /app"];
    let registry = Image { history, ..Image::of(vec![base, app, last]) }.serve();
    let output = pull(&user, &registry, "glibc 2.39");
    // Everything but the proof: no GPU code is in these files.
    assert_eq!(code(&output), 3, "{}", talk(&output));
    assert!(talk(&output).contains("holds no GPU code"), "{}", talk(&output));
    let expected =
        ["LICENSE", "libcudart.so.12", "libcudart.so.12.8.90", "libggml-cuda.so", "llama-doctor.json", "llama-server"];
    assert_eq!(names(&user), expected);
    assert_eq!(code(&user.run(&["builds", "verify", "b11434-cuda-12.8"])), 0);
    // The image needs its C library too.
    let asked = registry.requests().len();
    let old = pull(&user, &registry, "glibc 2.36");
    assert_eq!(code(&old), 3);
    assert!(talk(&old).contains("needs glibc 2.39"), "{}", talk(&old));
    assert_eq!(registry.requests().len(), asked);
}

#[test]
fn what_a_layer_deletes_is_gone_and_no_more() {
    let user = User::new();
    let lower = Tar::default()
        .program("app/llama-server", program())
        .file("app/libggml-cuda.so", elf())
        .file("app/tools/a", "1")
        .file("app/tools/b", "2")
        .file("app/old/c", "3")
        .file("usr/local/cuda-12.8/lib64/libcublas.so.12", elf())
        .gz();
    // The mark stands after the file that it must not touch.
    let upper = Tar::default()
        .file("app/tools/new", "4")
        .file("app/tools/.wh..wh..opq", "")
        .file("app/.wh.old", "")
        .file("usr/local/cuda-12.8/lib64/.wh.libcublas.so.12", "")
        .gz();
    pull(&user, &Image::of(vec![lower, upper]).serve(), "glibc 2.39");
    assert_eq!(names(&user), ["libggml-cuda.so", "llama-doctor.json", "llama-server", "old", "tools"]);
    let tools = user.home().join("builds/b11434-cuda-12.8/tools");
    assert_eq!(fs_err::read_dir(tools).unwrap().count(), 1);
    assert_eq!(code(&user.run(&["builds", "verify", "b11434-cuda-12.8"])), 0);
}

#[test]
fn hostile_images_leave_nothing() {
    let app = || Tar::default().program("app/llama-server", program()).file("app/libggml-cuda.so", elf());
    let layers = |upper: Tar| vec![app().file("app/d/x", "1").link("app/l", "d").gz(), upper.gz()];
    let tampered: fn(&mut BTreeMap<String, Vec<u8>>) = |blobs| {
        let layer = blobs.values_mut().find(|bytes| bytes.starts_with(&[0x1f, 0x8b])).unwrap();
        let at = layer.len() / 2;
        layer[at] ^= 1;
    };
    let forged: fn(&mut BTreeMap<String, Vec<u8>>) = |blobs| {
        let manifest = blobs.values_mut().find(|bytes| bytes.starts_with(b"{\"config\"")).unwrap();
        manifest.push(b' ');
    };
    for (what, image, expected, word) in [
        ("a name that leaves", Image::of(layers(Tar::default().file("app/../../evil", "x"))), 5, "`..`"),
        ("a link that leaves", Image::of(layers(Tar::default().link("app/out", "../../etc"))), 5, "leaves"),
        (
            "through a lower layer's link",
            Image::of(layers(Tar::default().file("app/l/evil", "x"))),
            5,
            "through the link",
        ),
        ("a device", Image::of(layers(Tar::default().entry(b'3', "app/null", "", 0o666, b""))), 5, "device"),
        ("a changed layer", Image { changed: tampered, ..Image::of(vec![app().gz()]) }, 5, "sha256"),
        ("a changed manifest", Image { changed: forged, ..Image::of(vec![app().gz()]) }, 5, "sha256"),
        (
            "zstd",
            Image { media_type: "application/vnd.oci.image.layer.v1.tar+zstd", ..Image::of(vec![app().gz()]) },
            3,
            "only gzip",
        ),
        (
            "a layer elsewhere",
            Image {
                media_type: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                ..Image::of(vec![app().gz()])
            },
            3,
            "does not hold",
        ),
        ("another processor", Image { architecture: "riscv64", ..Image::of(vec![app().gz()]) }, 3, "no image"),
    ] {
        let user = User::new();
        let output = pull(&user, &image.serve(), "glibc 2.39");
        assert_eq!(code(&output), expected, "{what}: {}", talk(&output));
        assert!(talk(&output).contains(word), "{what}: {}", talk(&output));
        let left = fs_err::read_dir(user.home().join("builds")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what}");
        assert!(!user.folder.path().join("evil").exists() && !user.home().join("evil").exists(), "{what}");
    }
}
