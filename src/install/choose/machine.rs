//! What counts of a machine when a build is chosen, and what its C libraries rule out.

use crate::build::verdict::Driver;
use crate::host::facts::{Facts, Gpu, OperatingSystem};

/// What counts of a machine here.
#[derive(Debug, Clone)]
pub struct Machine {
    pub system: OperatingSystem,
    /// As release files name it: `x64`, `arm64`; others as they are.
    pub arch: String,
    pub gpus: Vec<Gpu>,
    pub driver: Driver,
    /// `glibc 2.36`, where known.
    pub libc: Option<String>,
    /// `3.4.30`, or `none`; where known.
    pub libstdcxx: Option<String>,
}

impl Machine {
    pub fn new(facts: &Facts, gpus: Vec<Gpu>) -> Self {
        let system = facts.host.operating_system;
        // Under WSL the driver is Windows' own.
        let driver_system = if facts.wsl.is_some() { OperatingSystem::Windows } else { system };
        let arch = match facts.host.architecture.as_str() {
            "x86_64" | "amd64" | "AMD64" => "x64",
            "aarch64" | "ARM64" => "arm64",
            other => other,
        };
        Self {
            system,
            arch: arch.to_owned(),
            gpus: gpus.into_iter().filter(|gpu| gpu.visible).collect(),
            driver: Driver::from_facts(&facts.driver, driver_system),
            libc: facts.host.libc.value().cloned(),
            libstdcxx: facts.host.libstdcxx.value().cloned(),
        }
    }

    /// Why this system's C and C++ libraries are too old, or others than official builds need; none when they are fine or
    /// unknown.
    pub fn library_obstacle(&self, glibc: &str, glibcxx: &str) -> Option<String> {
        if self.system != OperatingSystem::Linux {
            return None;
        }
        self.libc_obstacle(glibc).or_else(|| self.libstdcxx_obstacle(glibcxx))
    }

    fn libc_obstacle(&self, least: &str) -> Option<String> {
        let libc = self.libc.as_deref()?;
        let old = match libc.strip_prefix("glibc ") {
            Some(version) => is_older(version, least)?,
            None => true,
        };
        old.then(|| format!("needs glibc {least}, and this system has {libc}"))
    }

    fn libstdcxx_obstacle(&self, least: &str) -> Option<String> {
        let have = self.libstdcxx.as_deref()?;
        if have == "none" {
            return Some(
                "needs libstdc++.so.6, and this system has none (package `libstdc++6` or `libstdc++`)".to_owned(),
            );
        }
        let old = is_older(have, least)?;
        old.then(|| format!("needs libstdc++ with GLIBCXX_{least}, and the loader finds one up to GLIBCXX_{have}"))
    }

    pub fn first_capability(&self) -> Option<String> {
        self.gpus.iter().find_map(|gpu| gpu.compute_capability).map(|capability| capability.to_string())
    }
}

/// None where one of them is no version.
fn is_older(have: &str, need: &str) -> Option<bool> {
    let numbers = |text: &str| text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
    Some(numbers(have)? < numbers(need)?)
}
