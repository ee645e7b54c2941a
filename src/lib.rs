//! `llama-doctor`: makes llama.cpp really run on an NVIDIA card, with proofs instead of labels.
//!
//! # The map
//!
//! | folder | question it answers |
//! |---|---|
//! | [`archive`] | zip and tar.gz, taken apart as if each were hostile |
//! | [`cli`] | what can be typed |
//! | [`command`] | what each subcommand does: gather, decide, hand to `report` |
//! | [`fit`] | what llama.cpp will allocate, and the largest that fits |
//! | [`gguf`] | what a model file's header says |
//! | [`binary`] | what a file is, without running it |
//! | [`build`] | the llama.cpp builds: what each is, and whether CUDA works in it |
//! | [`loader`] | how the system finds a library |
//! | [`host`] | what this machine is: facts, each with its origin |
//! | [`install`] | which official build runs here, and the store of installed ones |
//! | [`check`] | what is wrong with it: one question a file, from facts alone |
//! | [`manifest`] | the typed view of `manifests/` |
//! | [`model`] | what a MODEL names, and which models are here |
//! | [`net`] | how bytes come over the network: client, redirects, retries, downloads |
//! | [`probe`] | what happens when a build is run, in a child process |
//! | [`report`] | what people and programs read |
//! | [`failure`] | what any failure says, and its exit code |
//! | [`script`] | launch scripts, one file per dialect |
//! | [`server`] | llama-server as a process of ours: started, watched, measured, stopped |
//! | [`source`] | where bits come from: hubs and their caches |
//! | [`units`] | bytes, versions, capabilities, build tags |
//!
//! Observe, judge and render are different folders: `host` does IO and never judges; `check` computes
//! and never does IO; `report` prints and never decides.

pub mod archive;
pub mod binary;
pub mod build;
pub mod check;
pub mod cli;
pub mod command;
pub mod failure;
pub mod fit;
pub mod gguf;
pub mod host;
pub mod install;
pub mod loader;
pub mod manifest;
pub mod model;
pub mod net;
pub mod probe;
pub mod report;
pub mod script;
pub mod server;
pub mod source;
pub mod units;
