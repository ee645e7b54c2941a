//! A Docker Compose file on llama.cpp's official image. Each service runs the launch's sh script, carried inside the file, so
//! that the checks and the ladder work in the container too.

use std::fmt::Write as _;

use super::file::ScriptFile;
use super::launch::{Launch, LaunchServer, ModelFile, set};
use super::quote::{self, Refused};
use super::{head, sh, why};
use crate::units::BuildTag;

/// Where the image keeps the program (llama.cpp b11434 `.devops/cuda.Dockerfile`).
const SERVER: &str = "/app/llama-server";

/// The file, to be saved as `NAME.compose.yaml`.
pub fn script(launch: &Launch) -> Result<ScriptFile, Refused> {
    let mut text = String::new();
    for line in head(launch) {
        let _ = writeln!(text, "# {}", quote::comment(&line));
    }
    let name = &launch.name;
    let _ = write!(
        text,
        "#
#   docker compose -f {name}.compose.yaml up -d --wait
# Needs Docker Compose 2.23.1 (inline configs) and, for the GPU, the NVIDIA Container Toolkit.

services:
"
    );
    let mut configs = String::from("\nconfigs:\n");
    let mut previous: Option<&str> = None;
    for (index, server) in launch.servers.iter().enumerate() {
        let service = service_name(&server.name);
        text.push_str(&service_text(launch, server, &service, previous)?);
        let script =
            sh::text(&inside(launch, index)).map_err(|error| Refused { dialect: "a Compose file", ..error })?;
        let _ = writeln!(configs, "  start-{service}:\n    content: |");
        for line in script.lines() {
            let _ = writeln!(configs, "      {}", line.replace('$', "$$"));
        }
        previous = Some(server.name.as_str());
    }
    text.push_str(&configs);
    Ok(ScriptFile {
        name: format!("{name}.compose.yaml"),
        text,
        comment: "#",
        crlf: false,
        bom_if_needed: false,
        executable: false,
    })
}

/// The image's tag follows the build; today's CUDA 12 image runs on every driver that the plan's devices are likely to have.
fn image(launch: &Launch) -> String {
    let flavour = if launch.gpus.is_empty() { "server" } else { "server-cuda" };
    let build = match launch.build {
        Some(build @ (BuildTag::Nightly(_) | BuildTag::Release { .. })) => format!("-{build}"),
        None => String::new(),
    };
    format!("ghcr.io/ggml-org/llama.cpp:{flavour}{build}")
}

fn service_name(name: &str) -> String {
    name.replace('.', "-")
}

fn service_text(
    launch: &Launch,
    server: &LaunchServer,
    service: &str,
    previous: Option<&str>,
) -> Result<String, Refused> {
    let port = server.port;
    let mut text = format!(
        "  {service}:
    # {}
    image: {}
    entrypoint: [\"/bin/sh\", \"/start.sh\"]
    configs:
      - source: start-{service}
        target: /start.sh
    volumes:
",
        quote::comment(&server.title),
        image(launch)
    );
    for (file, inside) in server.files.iter().zip(inside_paths(server)) {
        refuse_control(&file.path)?;
        let _ = write!(
            text,
            "      - type: bind
        source: {}
        target: {}
        read_only: true
        bind: {{ create_host_path: false }}
",
            quote::compose(&file.path),
            quote::compose(&inside)
        );
    }
    // The container listens to all; who may reach it is decided here.
    let host = if super::launch::is_public(&server.host) { "0.0.0.0" } else { "127.0.0.1" };
    let _ = write!(
        text,
        "    ports:
      - {}
    healthcheck:
      # The image's own looks at port 8080 alone.
      test: [\"CMD\", \"curl\", \"-fsS\", \"-o\", \"/dev/null\", {}]
      interval: 10s
      timeout: 5s
      retries: 3
      # A large model on a slow disk, and the first start of a card that compiles its kernels.
      start_period: 15m
    restart: on-failure:5
    stop_grace_period: 30s
",
        quote::compose(&format!("{host}:{port}:{port}")),
        quote::compose(&format!("http://127.0.0.1:{port}/health"))
    );
    if let Some(previous) = previous {
        // One after the other, so that the second sees what the first left free.
        let _ =
            write!(text, "    depends_on:\n      {}:\n        condition: service_healthy\n", service_name(previous));
    }
    if !launch.gpus.is_empty() {
        let ids: Vec<String> = launch.gpus.iter().map(|gpu| quote::compose(&gpu.smi_id)).collect();
        let _ = write!(
            text,
            "    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              device_ids: [{}]
              capabilities: [gpu]
",
            ids.join(", ")
        );
    }
    for argument in &server.arguments {
        let value = argument.value.as_deref().unwrap_or_default();
        let line = format!("{} {value}: {}", argument.flag, why::reason(argument, server, launch));
        let _ = writeln!(text, "    # {}", quote::comment(&line));
    }
    Ok(text)
}

fn refuse_control(word: &str) -> Result<(), Refused> {
    if word.chars().any(char::is_control) {
        let reason = "it holds a control character";
        return Err(Refused { word: word.to_owned(), dialect: "a Compose file", reason });
    }
    Ok(())
}

/// Each file keeps its name, as shards must.
fn inside_paths(server: &LaunchServer) -> Vec<String> {
    let name = |file: &ModelFile| file.path.rsplit(['/', '\\']).next().unwrap_or("model.gguf").to_owned();
    server.files.iter().map(|file| format!("/models/{}", name(file))).collect()
}

/// The server as the container sees it: its own paths, all interfaces, and GPUs numbered anew from 0.
fn inside(launch: &Launch, index: usize) -> Launch {
    let mut inner = launch.only(index);
    SERVER.clone_into(&mut inner.server);
    let server = &mut inner.servers[0];
    let paths = inside_paths(server);
    for (file, path) in server.files.iter_mut().zip(&paths) {
        for argument in &mut server.arguments {
            if argument.value.as_deref() == Some(&file.path) {
                argument.value = Some(path.clone());
            }
        }
        file.path.clone_from(path);
    }
    set(&mut server.arguments, "host", "0.0.0.0");
    if !inner.gpus.is_empty() {
        let ids: Vec<String> = (0..inner.gpus.len()).map(|number| format!("CUDA{number}")).collect();
        set(&mut server.arguments, "device", &ids.join(","));
        for (number, gpu) in inner.gpus.iter_mut().enumerate() {
            gpu.id = format!("CUDA{number}");
            if gpu.smi_id.chars().all(|c| c.is_ascii_digit()) {
                gpu.smi_id = number.to_string();
            }
        }
    }
    inner
}
