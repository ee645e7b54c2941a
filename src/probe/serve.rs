//! A token computed through the build's own server, where its libraries cannot be called.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Token;
use crate::build::Device;
use crate::server::http::Caller;
use crate::server::start::{Server, ServerError, Start, free_port};
use crate::server::supervise::stops_asked;

/// Starts `server` with the model on the device (on the processor without one), and asks it for one token.
pub(super) fn token(server: &Path, model: &Path, device: Option<&Device>, deadline: Duration) -> Token {
    let start = Instant::now();
    let computed = compute(server, model, device, deadline);
    let (layers_on_device, problem) = match computed {
        Ok(layers) => (layers.filter(|_| device.is_some()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Token {
        device: device.map_or_else(|| "CPU".to_owned(), |device| device.name.clone()),
        model: model.to_owned(),
        token: None,
        milliseconds: start.elapsed().as_millis() as u64,
        problem,
        layers_on_device,
    }
}

/// The layers that the server put on the device, as it said.
fn compute(
    server: &Path,
    model: &Path,
    device: Option<&Device>,
    deadline: Duration,
) -> Result<Option<String>, ServerError> {
    const HOST: &str = "127.0.0.1";
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let (device, layers) = device.map_or(("none", "0"), |device| (device.name.as_str(), "999"));
    let port_text = port.to_string();
    let model = model.display().to_string();
    let words = ["-m", &model, "-c", "512", "-dev", device, "-ngl", layers, "--host", HOST, "--port", &port_text];
    let mut running = Server::start(&Start {
        name: "the proof".to_owned(),
        program: server.to_owned(),
        arguments: words.map(str::to_owned).into(),
        without: vec!["GGML_BACKEND_PATH".to_owned()],
        host: HOST.to_owned(),
        port,
        log: folder.path().join("server.log"),
    })?;
    running.wait_ready(deadline, &mut |_| {})?;
    let left = deadline.saturating_sub(running.started.elapsed());
    let caller = Caller { address: running.address, limit: left, give_up: &|| stops_asked() > 0 };
    let answered = caller.post_json("/completion", &json!({"prompt": "A", "n_predict": 1, "temperature": 0}));
    // What ended the server says more than the connection that broke.
    running.still_runs()?;
    answered?;
    // A log that cannot be read tells no layers.
    let log = fs_err::read_to_string(running.log()).unwrap_or_default();
    let said = log.lines().rev().find_map(|line| line.split_once("offloaded ")?.1.split_once(" layers"));
    Ok(said.map(|(layers, _)| layers.to_owned()))
}
