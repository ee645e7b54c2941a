//! One download or one unpacking by the clock, for `.ci/bench-download.sh`, which sets other programs beside it.
//!
//! `transfer download URL FILE CONNECTIONS [SHA256]` · `transfer unpack ARCHIVE FOLDER`; prints seconds.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and stops when it cannot measure")]

use std::path::Path;
use std::time::Instant;

use llama_doctor::archive::{Limits, unpack};
use llama_doctor::net::client::{Client, Settings};
use llama_doctor::net::download::{Request, Silent, download};
use llama_doctor::net::redirect::Redirects;

fn main() {
    // `cargo bench` and `cargo test` add flags of their own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let began = Instant::now();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["download", url, file, connections, ref rest @ ..] => {
            let client = Client::new(Settings::default()).unwrap();
            let request = Request {
                connections: connections.parse().unwrap(),
                sha256: rest.first().map(|digest| digest.parse().unwrap()),
                ..Request::new(url.parse().unwrap(), file, Redirects::Any)
            };
            download(&client, &request, &Silent).unwrap();
        }
        ["unpack", archive, folder] => {
            unpack(Path::new(archive), Path::new(folder), &Limits::default()).unwrap();
        }
        _ => return,
    }
    println!("{:.3}", began.elapsed().as_secs_f64());
}
