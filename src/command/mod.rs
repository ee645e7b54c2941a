//! One file per subcommand: gather, decide, hand to `report`.

mod bench;
mod builds;
mod check;
mod completions;
mod explain;
pub mod fit;
mod fix;
mod inspect;
mod inspect_model;
mod install;
mod launch;
mod man;
mod models;
pub mod pull;
mod second_opinion;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use crate::cli::check::CheckArguments;
use crate::cli::{Cli, Command, Global};
use crate::failure::Failure;
use crate::host::Host;
use crate::host::facts::{Facts, Gpu};
use crate::net::client::{Client, Settings};
use crate::report::printer::{Printer, Verbosity};

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Program {
    pub host: Host,
    pub global: Global,
    pub printer: Printer,
    /// The machine, once it was looked at: that may take a second.
    observed: Arc<OnceLock<Facts>>,
}

impl Program {
    pub fn new(global: Global) -> Self {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        };
        let printer = Printer { json: global.json, verbosity };
        Self { host: Host::Live, printer, global, observed: Arc::default() }
    }

    /// The folder that holds builds, downloads and caches of ours: `--home`, `LLAMA_DOCTOR_HOME`, or the system's data folder.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        use etcetera::BaseStrategy as _;
        if let Some(home) = &self.global.home {
            return Ok(home.clone());
        }
        if let Some(home) = self.host.variable(crate::host::environment::LLAMA_DOCTOR_HOME.name) {
            return Ok(home.into());
        }
        etcetera::choose_base_strategy()
            // Builds are large: on Windows they must not roam with the profile.
            .map(|folders| if cfg!(windows) { folders.cache_dir() } else { folders.data_dir() }.join("llama-doctor"))
            .map_err(|error| Failure::environment(error).hinted("name a folder with `--home DIR`"))
    }

    /// The GPUs to plan for: `--gpu`, `--facts`, or those found.
    pub fn gpus(&self) -> Result<Vec<Gpu>, Failure> {
        if !self.global.gpu.is_empty() {
            let specs = self.global.gpu.iter().enumerate();
            return specs.map(|(index, spec)| crate::manifest::gpus::simulated(spec, index)).collect();
        }
        Ok(self.facts()?.gpus)
    }

    /// The HTTP client that every source uses, as the flags and the environment want it.
    pub fn client(&self) -> Result<Client, Failure> {
        let certificate_bundle = self.host.variable(crate::host::environment::SSL_CERT_FILE.name).map(PathBuf::from);
        Ok(Client::new(Settings { offline: self.global.offline, certificate_bundle, ..Settings::default() })?)
    }

    /// `LLAMA_DOCTOR_ALLOW_HOSTS`: more hosts that redirects may lead to.
    pub fn allowed_hosts(&self) -> Vec<String> {
        let hosts = self.host.text_variable(crate::host::environment::LLAMA_DOCTOR_ALLOW_HOSTS.name);
        let hosts = hosts.unwrap_or_default();
        hosts.split([',', ' ']).filter(|host| !host.is_empty()).map(str::to_owned).collect()
    }

    /// The machine: `--facts`, or this one as it was when first asked.
    pub fn facts(&self) -> Result<Facts, Failure> {
        if let Some(facts) = self.observed.get() {
            return Ok(facts.clone());
        }
        let facts = match &self.global.facts {
            Some(path) => Facts::load(path)?,
            None => crate::host::observe(&self.host, &self.home()?),
        };
        Ok(self.observed.get_or_init(|| facts).clone())
    }

    /// The same program that has not looked at the machine yet: for what changes while it runs, such as free VRAM.
    #[must_use]
    pub fn looking_anew(&self) -> Self {
        Self { observed: Arc::default(), ..self.clone() }
    }
}

pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let program = Program::new(cli.global);
    match cli.command {
        Some(Command::Completions(arguments)) => Ok(completions::run(&program, &arguments)),
        Some(Command::Fit(arguments)) => fit::run(&program, &arguments),
        Some(Command::Bench(arguments)) => bench::run(&program, &arguments),
        Some(Command::Launch(arguments)) => launch::run(&program, &arguments),
        Some(Command::Models(arguments)) => models::run(&program, &arguments),
        Some(Command::Pull(arguments)) => pull::run(&program, &arguments),
        Some(Command::Install(arguments)) => install::run(&program, &arguments),
        Some(Command::Builds(arguments)) => builds::run(&program, &arguments),
        Some(Command::Man) => man::run(&program),
        Some(Command::Setup(arguments)) => setup::run(&program, &arguments),
        None => check::run(&program, &CheckArguments::default()),
        Some(Command::Check(arguments)) => check::run(&program, &arguments),
        Some(Command::Inspect(arguments)) => inspect::run(&program, &arguments),
        Some(Command::Explain(arguments)) => explain::run(&program, &arguments),
        Some(Command::DriverChild) => Ok(crate::host::driver_api::run_child()),
        Some(Command::ProbeChild) => Ok(crate::probe::run_child()),
    }
}
