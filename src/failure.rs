//! What any failure says: every module's error becomes a [`Failure`] here, with its exit code and the way out.

use std::error::Error;
use std::fmt;

/// Why the program stops; the number is the exit code of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was typed, or a file that was named, is not usable.
    Usage = 2,
    /// This machine lacks something: a file, a right, a GPU.
    Environment = 3,
    Network = 4,
    /// A digest, a signature or a file's own structure is wrong.
    Integrity = 5,
    /// llama-server did not start, or died.
    Server = 6,
    /// A bug of ours.
    Internal = 70,
}

/// An error on its way to the user, with the advice that belongs to it.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    pub error: Box<dyn Error + Send + Sync>,
    pub hints: Vec<String>,
}

impl Failure {
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new() }
    }

    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, error)
    }

    pub fn environment(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Environment, error)
    }

    /// Adds one line of advice.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for Failure {
    /// The error and its causes, on one line each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            write!(formatter, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<crate::archive::Error> for Failure {
    fn from(error: crate::archive::Error) -> Self {
        use crate::archive::Error as E;
        match error {
            E::Unknown { .. } => {
                Self::usage(error).hinted("official builds are .zip files for Windows and .tar.gz files for Linux")
            }
            E::Damaged { .. } => Self::new(Kind::Integrity, error).hinted("download it again"),
            E::Refused { .. } | E::Bomb { .. } => Self::new(Kind::Integrity, error)
                .hinted("nothing of it was kept. An official archive never looks like this: do not use it"),
            E::File(error) => error.into(),
        }
    }
}

impl From<crate::source::github::GithubError> for Failure {
    fn from(error: crate::source::github::GithubError) -> Self {
        use crate::source::github::GithubError as E;
        match error {
            E::Net(error) => {
                let is_limit = matches!(
                    &error,
                    crate::net::Error::AskedToWait { .. } | crate::net::Error::Status { status: 403 | 429, .. }
                );
                let failure = Self::from(error);
                if is_limit { failure.hinted("a token in `GH_TOKEN` raises GitHub's limit") } else { failure }
            }
            E::File(error) => error.into(),
            E::Mirror { .. } => Self::usage(error).hinted("write for instance `https://mirror.example`"),
            E::NoRelease { .. } | E::NoPointer { .. } => {
                Self::usage(error).hinted("`stable` and `nightly` always name a build; not every number has a release")
            }
            E::Malformed { .. } | E::EmptyFeed | E::NothingFound { .. } => {
                let hint = match &error {
                    E::NothingFound { first, .. } => match &**first {
                        E::Net(error) => network_hint(error),
                        _ => None,
                    },
                    _ => None,
                };
                let failure = Self::new(Kind::Network, error);
                let failure = hint.into_iter().fold(failure, Self::hinted);
                failure.hinted("archives on the disk can be installed with `--from FILE...`")
            }
        }
    }
}

impl From<crate::source::container::ContainerError> for Failure {
    fn from(error: crate::source::container::ContainerError) -> Self {
        use crate::source::container::ContainerError as E;
        match error {
            E::Net(error) => error.into(),
            E::NoImage { .. } => {
                Self::environment(error).hinted("images are made daily, so that only some builds have one")
            }
            E::Unsupported { .. } => Self::environment(error).hinted(
                "Docker itself can: `docker run --gpus all ghcr.io/ggml-org/llama.cpp:server-cuda`; or choose another build",
            ),
            E::Malformed { .. } => Self::new(Kind::Network, error).hinted("a proxy may stand between; try without it"),
            E::Digest { .. } => {
                Self::new(Kind::Integrity, error).hinted("a proxy or a mirror changes what it passes on")
            }
        }
    }
}

impl From<crate::source::pypi::PypiError> for Failure {
    fn from(error: crate::source::pypi::PypiError) -> Self {
        use crate::source::pypi::PypiError as E;
        match error {
            E::Net(error) => error.into(),
            E::UnknownCuda(_) | E::NoWheel { .. } => {
                Self::environment(error).hinted("the release has these libraries too: leave `--cudart pypi` out")
            }
            E::Malformed { .. } => Self::new(Kind::Network, error)
                .hinted("the index must speak JSON (PEP 691); `PIP_INDEX_URL` names another"),
        }
    }
}

impl From<crate::install::choose::ChooseError> for Failure {
    fn from(error: crate::install::choose::ChooseError) -> Self {
        use crate::install::choose::ChooseError as E;
        let hints = match &error {
            E::NoBuild { .. } => vec!["llama.cpp can be built from source on this system".to_owned()],
            E::NotWanted { .. } => vec!["`--dry-run` without `--backend` shows what the release has".to_owned()],
            E::NothingRuns { ways_out, .. } => ways_out.clone(),
            E::NoImage { .. } => vec!["without `--container` the archives of the release are looked at".to_owned()],
        };
        Self { hints, ..Self::environment(error) }
    }
}

impl From<crate::install::InstallError> for Failure {
    fn from(error: crate::install::InstallError) -> Self {
        use crate::install::InstallError as E;
        match error {
            E::Net(error) => error.into(),
            E::Archive(error) => error.into(),
            // Windows keeps the files of what runs.
            E::File(error) if cfg!(windows) && error.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::environment(error).hinted("a program of this build may be running: stop it, then run this again")
            }
            E::File(error) => error.into(),
            E::NoBuild { ref installed, .. } => {
                let hint = if installed.is_empty() {
                    "nothing is installed yet: `llama-doctor install` brings a build".to_owned()
                } else {
                    format!("installed are `{}`", installed.join("`, `"))
                };
                Self::usage(error).hinted(hint)
            }
            E::NoneInUse | E::NoEarlier => Self::usage(error).hinted("`llama-doctor builds` lists what is installed"),
            E::InUse { .. } => Self::usage(error).hinted("put another to use first: `llama-doctor builds use ID`"),
            E::Busy { .. } => Self::environment(error).hinted("let it finish, then run this again"),
            E::NoDigest { .. } => Self::new(Kind::Integrity, error).hinted(
                "releases before June 2025 publish none: accept the file as it comes with `--allow-missing-digest`",
            ),
            E::Attestation { .. } => Self::new(Kind::Integrity, error).hinted(
                "do not run this file: ask the project first. `gh attestation verify FILE --repo ggml-org/llama.cpp` \
                 looks at it with other eyes",
            ),
            E::AttestationKeys { .. } => Self::new(Kind::Integrity, error).hinted(
                "keys change: a newer llama-doctor knows newer ones, and `gh attestation verify FILE --repo \
                 ggml-org/llama.cpp` asks for those of today. If neither knows them, the file is not the project's",
            ),
            E::NoAttestation { .. } => Self::new(Kind::Integrity, error).hinted(
                "releases before August 2026 have none: without `--attestation require` their sha256 is all that counts",
            ),
            E::AttestationUnasked { .. } => Self::new(Kind::Network, error)
                .hinted("put it beside the file (`gh attestation download`), or leave `--attestation require` out"),
            E::AttestationsUnavailable => {
                Self::usage(error).hinted("the released programs can; so can `cargo install --features attestation`")
            }
            E::Collision { .. } => Self::new(Kind::Integrity, error).hinted("these archives are not of one release"),
            E::NotOfficial { .. } => Self::usage(error).hinted(
                "its name tells what an archive is: keep it as on the release page, for instance \
                 `llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz`; with it may come its `cudart-llama-...`",
            ),
            E::NoArchive { .. } => Self::usage(error).hinted("`--from` takes archives: .zip for Windows, .tar.gz for Linux"),
            E::Mismatch { .. } => {
                Self::usage(error).hinted("give one build and the CUDA libraries of the same version")
            }
            E::NoSpace { .. } => {
                Self::environment(error).hinted("free some room, or choose another disk with `--home DIR`")
            }
            E::Receipt { .. } => Self::new(Kind::Integrity, error).hinted("remove that folder, then install again"),
            E::Unproven { ref id, .. } => {
                let hint =
                    format!("`llama-doctor check` explains it; `llama-doctor builds use {id} --force` uses it anyway");
                Self::environment(error).hinted(hint)
            }
            E::Damaged { .. } => Self::new(Kind::Integrity, error).hinted("install it again to mend it"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let hint = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "free some room, or choose another disk with `--home DIR`"
            }
            ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written with `--home DIR`",
            _ => return Self::environment(error),
        };
        Self::environment(error).hinted(hint)
    }
}

impl From<crate::units::ParseUnitError> for Failure {
    fn from(error: crate::units::ParseUnitError) -> Self {
        Self::usage(error)
    }
}

impl From<crate::manifest::gpus::UnknownGpu> for Failure {
    fn from(error: crate::manifest::gpus::UnknownGpu) -> Self {
        let near = error.nearest.join("`, `");
        let failure = Self::usage(error);
        let failure = if near.is_empty() { failure } else { failure.hinted(format!("did you mean `{near}`?")) };
        failure.hinted("any card can be described as `NAME:TOTAL:CAPABILITY[:FREE]`, for instance `big:24GiB:8.6`")
    }
}

impl From<crate::gguf::OpenError> for Failure {
    fn from(error: crate::gguf::OpenError) -> Self {
        use crate::gguf::GgufError as Problem;
        let hint = match &error.error {
            Problem::Io(_) => return Self::environment(error),
            Problem::LfsPointer => "fetch the file itself: `git lfs pull`, or `llama-doctor pull`",
            Problem::HtmlPage => "download the file again; a hub's page address is not its file address",
            Problem::Version1 | Problem::BigEndian | Problem::RemovedTensorType { .. } => {
                "get a current conversion of the model for llama.cpp"
            }
            Problem::UnknownVersion(_) | Problem::UnknownTensorType { .. } | Problem::UnknownValueType { .. } => {
                "a newer llama-doctor may know it; otherwise the file is damaged: check its digest"
            }
            Problem::ShardName => "rename the parts as they were published, all in one folder",
            Problem::MissingShard { .. } | Problem::WrongShard { .. } | Problem::ShardTensors { .. } => {
                "download all parts of one model into one folder, under their own names"
            }
            Problem::NoArchitecture => "it holds no language model that llama-server can run",
            _ => "download it again and compare its size and digest with the published ones",
        };
        Self::new(Kind::Integrity, error).hinted(hint)
    }
}

impl From<crate::fit::FitError> for Failure {
    fn from(error: crate::fit::FitError) -> Self {
        use crate::fit::FitError as Problem;
        let hint = match &error {
            Problem::UnknownArchitecture { name } => {
                let near = crate::fit::refusal::nearest(name);
                let near = if near.is_empty() { String::new() } else { format!(", for instance {}", near.join(", ")) };
                format!(
                    "`--assume ARCH` plans it as one of the {} that are{near}: the figures are as good as the likeness",
                    crate::fit::architecture::all().len()
                )
            }
            Problem::Refused { instead, .. } => instead.clone(),
            Problem::BuildLacks { known_to, .. } => format!("plan for another build: `--for-build {known_to}`"),
            Problem::MissingKey { .. } | Problem::MissingTensor { .. } => {
                "the file is no complete conversion: download it again, or convert the model anew".to_owned()
            }
            Problem::QuantizedVNeedsFlashAttention => "leave `-fa` at auto, or choose `-ctv f16`".to_owned(),
            Problem::HeadNotInBlocks { .. } => "choose `f16` for this cache".to_owned(),
            Problem::UnequalTypes => "give `-ctk` and `-ctv` the same type".to_owned(),
            _ => return Self::usage(error),
        };
        Self::usage(error).hinted(hint)
    }
}

impl From<crate::build::examine::BuildError> for Failure {
    fn from(error: crate::build::examine::BuildError) -> Self {
        use crate::build::examine::BuildError;
        match &error {
            BuildError::Unreadable(cause) if cause.kind() == std::io::ErrorKind::NotFound => Self::usage(error),
            BuildError::Unreadable(_) => Self::environment(error),
            BuildError::Binary { .. } => {
                Self::new(Kind::Integrity, error).hinted("the file is cut off or changed: download or install it again")
            }
            BuildError::NotABuild { .. } => {
                Self::usage(error).hinted("name a folder, library or program of llama.cpp, an archive or a GGUF file")
            }
        }
    }
}

impl From<crate::build::archive::ArchiveError> for Failure {
    fn from(error: crate::build::archive::ArchiveError) -> Self {
        use crate::build::archive::ArchiveError;
        match &error {
            ArchiveError::Unreadable(_) => Self::environment(error),
            ArchiveError::Damaged { .. } => {
                Self::new(Kind::Integrity, error).hinted("the archive is cut off or changed: download it again")
            }
            ArchiveError::Bomb { .. } => Self::new(Kind::Integrity, error),
        }
    }
}

impl From<crate::host::facts::FactsError> for Failure {
    fn from(error: crate::host::facts::FactsError) -> Self {
        Self::usage(error).hinted("record a machine with `llama-doctor check --save FILE`")
    }
}

impl From<crate::source::hub_cache::HubCacheError> for Failure {
    fn from(error: crate::source::hub_cache::HubCacheError) -> Self {
        use crate::source::hub_cache::HubCacheError as E;
        let hint = match &error {
            E::NoHome => "set HF_HOME to a folder for models",
            E::Locked { .. } => "wait for the other download to finish, then run this again",
            E::Io(_) => "HF_HOME or HF_HUB_CACHE can name another folder for models",
        };
        Self::environment(error).hinted(hint)
    }
}

impl From<crate::model::name::ModelNameError> for Failure {
    fn from(error: crate::model::name::ModelNameError) -> Self {
        use crate::model::name::ModelNameError as E;
        const FORMS: &str = "a model is a path to a .gguf, `org/repo[:QUANT]`, `org/repo/file.gguf`, an https:// address \
                             or a name of the catalogue";
        if matches!(error, E::NotCached { .. }) {
            return Self::new(Kind::Network, error).hinted("run it once without `--offline` and HF_HUB_OFFLINE");
        }
        let hint = match &error {
            E::NoSuchFile { .. } => "check the path; `llama-doctor models` lists the models on this machine",
            E::Folder { .. } => "name the .gguf file in it; of a split model, any shard",
            E::PlainHttp { .. } => "use https://, or name the model as `org/repo`",
            E::NotGgufUrl { .. } | E::Unknown(_) | E::Name(_) | E::NotCached { .. } => FORMS,
        };
        Self::usage(error).hinted(hint)
    }
}

impl From<crate::model::selection::SelectionError> for Failure {
    fn from(error: crate::model::selection::SelectionError) -> Self {
        use crate::model::selection::SelectionError as E;
        const SHOWN: usize = 12;
        let hints = match &error {
            E::NoModel { .. } => {
                vec![
                    "it may hold safetensors only: look for a repository of the same name that ends in `-GGUF`"
                        .to_owned(),
                ]
            }
            E::NoMatch { repository, tags, .. } => {
                tags.iter().take(SHOWN).map(|tag| format!("{repository}:{tag}")).collect()
            }
            E::Several { repository, names, .. } => {
                names.iter().take(SHOWN).map(|name| format!("name one: {repository}/{name}")).collect()
            }
            E::NoFile { .. } => vec!["`llama-doctor inspect org/repo` lists what a repository has".to_owned()],
            E::MissingShards { .. } => {
                vec!["its upload may be unfinished: another quantization or repository may be whole".to_owned()]
            }
        };
        let kind = if matches!(error, E::MissingShards { .. }) { Kind::Integrity } else { Kind::Usage };
        Self { kind, error: error.into(), hints }
    }
}

impl From<crate::model::receipts::ReceiptsError> for Failure {
    fn from(error: crate::model::receipts::ReceiptsError) -> Self {
        use crate::model::receipts::ReceiptsError as E;
        match error {
            E::Io(error) => error.into(),
            E::Unreadable { .. } => {
                Self::environment(error).hinted("move it away: the models stay, only their list begins anew")
            }
        }
    }
}

impl From<crate::model::remove::RemoveError> for Failure {
    fn from(error: crate::model::remove::RemoveError) -> Self {
        use crate::model::remove::RemoveError as E;
        let hint = match &error {
            E::Unknown(_) => "`llama-doctor models` lists them; name one as it is listed there",
            E::NotOurs { .. } => "remove it with the program that brought it",
        };
        Self::usage(error).hinted(hint)
    }
}

impl From<crate::model::pull::PullError> for Failure {
    fn from(error: crate::model::pull::PullError) -> Self {
        use crate::model::pull::PullError as E;
        match error {
            E::NoSpace { .. } => Self::environment(error)
                .hinted("a smaller quantization needs less; HF_HOME or `--to DIR` can name another disk"),
            E::Local(ref path) => {
                let hint = format!("plan for it with `llama-doctor fit {}`", path.display());
                Self::usage(error).hinted(hint)
            }
            E::InTheWay { .. } => {
                Self::environment(error).hinted("move it away, or name another folder with `--to DIR`")
            }
        }
    }
}

impl From<crate::source::huggingface::HubError> for Failure {
    fn from(error: crate::source::huggingface::HubError) -> Self {
        use crate::source::huggingface::HubError as E;
        const TOKEN: &str = "log in with `hf auth login`, or set HF_TOKEN";
        let hints: Vec<String> = match error {
            E::Net(error) => return error.into(),
            E::BadEndpoint(_) => {
                return Self::usage(error).hinted("write it as `https://HOST`, or unset it for the public hub");
            }
            E::Gated { ref page, with_token: true, .. } => {
                vec![format!(
                    "accept the terms at {page} with the account that the token belongs to, then run this again"
                )]
            }
            E::Gated { ref page, with_token: false, .. } => {
                vec![format!("accept the terms at {page}"), TOKEN.to_owned()]
            }
            E::NoRepository { with_token: true, .. } => {
                vec!["check the spelling; the token's account must be allowed to read a private one".to_owned()]
            }
            E::NoRepository { with_token: false, .. } => {
                vec![format!("check the spelling; for a private one {TOKEN}")]
            }
            E::NoRevision { .. } | E::NoFile { .. } => {
                vec!["`llama-doctor inspect org/repo` lists what a repository has".to_owned()]
            }
            E::Disabled { .. } => vec!["another repository may hold the same model".to_owned()],
            E::Refused { .. } | E::BadAnswer { .. } => {
                vec!["HF_ENDPOINT and HTTPS_PROXY decide which server is asked: is it a Hugging Face hub?".to_owned()]
            }
        };
        Self { kind: Kind::Network, error: error.into(), hints }
    }
}

impl From<crate::source::remote_header::RemoteHeaderError> for Failure {
    fn from(error: crate::source::remote_header::RemoteHeaderError) -> Self {
        use crate::source::remote_header::RemoteHeaderError as E;
        match error {
            E::Net(error) => error.into(),
            E::TooLong { .. } => Self::new(Kind::Integrity, error).hinted("the file is broken or not a model"),
        }
    }
}

impl From<crate::net::Error> for Failure {
    fn from(error: crate::net::Error) -> Self {
        use crate::net::Error;
        let kind = match &error {
            Error::Offline { .. }
            | Error::Start(_)
            | Error::Transport { .. }
            | Error::Body { .. }
            | Error::Status { .. }
            | Error::AskedToWait { .. }
            | Error::RedirectRefused { .. }
            | Error::TooManyRedirects { .. }
            | Error::TooLong { .. }
            | Error::WebPage { .. }
            | Error::WrongRange { .. }
            | Error::RangesStopped { .. }
            | Error::Changed { .. } => Kind::Network,
            Error::Size { .. } | Error::Digest { .. } | Error::Content { .. } => Kind::Integrity,
            Error::CertificateBundle { .. }
            | Error::NoSpace { .. }
            | Error::PathTooLong { .. }
            | Error::Busy { .. }
            | Error::File(_) => Kind::Environment,
        };
        let hint = network_hint(&error);
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hinted(hint),
            None => failure,
        }
    }
}

fn network_hint(error: &crate::net::Error) -> Option<&'static str> {
    use crate::net::Error;
    match error {
        Error::Offline { .. } => Some("run it again without `--offline`, or give the file by its path"),
        Error::CertificateBundle { .. } => Some("`SSL_CERT_FILE` names this file: give it a PEM bundle, or unset it"),
        Error::Transport { .. } => Some(
            "behind a proxy, set `HTTPS_PROXY`; with a company's own certificate, `SSL_CERT_FILE`; without any \
                 certificates (a bare container), install the package `ca-certificates`",
        ),
        Error::Body { .. } => Some("what has arrived is kept: run it again to go on from there"),
        Error::AskedToWait { .. } => Some("wait, or raise the limit with a token (`GH_TOKEN`, `HF_TOKEN`)"),
        Error::RedirectRefused { .. } => {
            Some("if this host is yours or your mirror's, name it in `LLAMA_DOCTOR_ALLOW_HOSTS`")
        }
        Error::WebPage { .. } => Some("a proxy or a login page may stand between this machine and the server"),
        Error::Size { .. } | Error::Digest { .. } => {
            Some("nothing of it was kept: a mirror or a proxy may hold another file under this name; try without it")
        }
        Error::NoSpace { .. } => Some("free some room, or choose another disk with `--home DIR`"),
        Error::PathTooLong { .. } => Some("choose a folder with a shorter path (`--home DIR`)"),
        Error::Busy { .. } => Some("let it finish, then run this again"),
        _ => None,
    }
}

impl From<crate::check::UnknownCheck> for Failure {
    fn from(error: crate::check::UnknownCheck) -> Self {
        let near = error.nearest.join("`, `");
        let failure = Self::usage(error);
        let failure = if near.is_empty() { failure } else { failure.hinted(format!("did you mean `{near}`?")) };
        failure.hinted("`llama-doctor check --list-checks` lists them")
    }
}

impl From<crate::script::quote::Refused> for Failure {
    fn from(error: crate::script::quote::Refused) -> Self {
        Self::usage(error).hinted("rename the file, or leave this format out of `--format`")
    }
}

impl From<crate::script::launch::LaunchError> for Failure {
    fn from(error: crate::script::launch::LaunchError) -> Self {
        use crate::script::launch::LaunchError;
        let hint = match &error {
            LaunchError::PublicWithoutKey(_) => {
                Some("write keys into a file, one a line, and name it with `--api-key-file FILE`")
            }
            LaunchError::Ports(..) => Some("choose a smaller `--port`"),
            LaunchError::NoSuchOption(_) | LaunchError::NoModel(_) => {
                Some("the plan was edited or is of another version: make it anew with `llama-doctor fit --json`")
            }
        };
        let failure = Self::usage(error);
        match hint {
            Some(hint) => failure.hinted(hint),
            None => failure,
        }
    }
}

impl From<crate::script::file::WriteError> for Failure {
    fn from(error: crate::script::file::WriteError) -> Self {
        use crate::script::file::WriteError;
        match error {
            WriteError::Edited(_) | WriteError::Foreign(_) => Self::usage(error)
                .hinted("keep it and write elsewhere with `--out DIR`, or overwrite it with `--force`"),
            WriteError::Io(error) => Self::environment(error),
        }
    }
}

impl From<crate::server::start::ServerError> for Failure {
    fn from(error: crate::server::start::ServerError) -> Self {
        use crate::server::start::ServerError;
        let mut hints = Vec::new();
        match &error {
            ServerError::Diagnosed { diagnosis, log, .. } => {
                hints.push(diagnosis.advice.clone());
                hints.push(format!("its log: {}", log.display()));
            }
            ServerError::Ended { log, .. } => hints.push(format!("its log: {}", log.display())),
            ServerError::NotReady { log, .. } => {
                hints.push(format!("its log says how far it came: {}", log.display()));
            }
            ServerError::PortTaken { .. } => hints.push("choose another with `--port`".to_owned()),
            ServerError::Start { .. } => {
                hints.push(
                    "name a working one with `--server PATH`, or install one with `llama-doctor install`".to_owned(),
                );
            }
            ServerError::TimeUp => hints.push("give it more with `--time-limit MINUTES`".to_owned()),
            ServerError::Stopped | ServerError::Http(_) | ServerError::Io(_) => {}
        }
        Self { kind: Kind::Server, error: error.into(), hints }
    }
}

impl From<crate::manifest::models::CatalogueError> for Failure {
    fn from(error: crate::manifest::models::CatalogueError) -> Self {
        use crate::manifest::models::CatalogueError;
        let (what, choices) = match &error {
            CatalogueError::UnknownName { nearest, .. } => ("did you mean", nearest.join("`, `")),
            CatalogueError::UnknownQuantization { known, .. } => ("known are", known.join("`, `")),
        };
        let failure = Self::usage(error);
        if choices.is_empty() {
            return failure.hinted("a model is a `.gguf` file, `org/repo[:QUANT]`, a URL or a name of the catalogue");
        }
        failure.hinted(format!("{what} `{choices}`"))
    }
}

impl From<crate::server::calibration::CalibrationError> for Failure {
    fn from(error: crate::server::calibration::CalibrationError) -> Self {
        Self::environment(error).hinted("mend or delete the file, or go on without it: `--no-calibration`")
    }
}
