//! Asks whether this holds: only one driver is installed.

use super::{Check, Context, Family, Finding, Group, Needs, Remedy};
use std::path::PathBuf;

pub(super) struct OneDriverInstalled;

impl Check for OneDriverInstalled {
    fn id(&self) -> &'static str {
        "one-driver-installed"
    }
    fn title(&self) -> &'static str {
        "Only one driver is installed"
    }
    fn explanation(&self) -> &'static str {
        "Two driver packages (a distribution's and NVIDIA's own installer, or two branches) leave two \
         `libcuda.so` of different versions. Which one a program gets then depends on its folder, and one of them \
         does not fit the kernel module."
    }
    fn group(&self) -> Group {
        Group::Driver
    }
    fn needs(&self) -> Needs {
        Needs::Card
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let driver = &context.facts.user_driver;
        let Some(path) = driver.libcuda.value() else { return vec![self.skip("no libcuda was found")] };
        let version = |path: &PathBuf| {
            path.file_name()?
                .to_str()?
                .split_once(".so.")
                .map(|(_, version)| version.to_owned())
                .filter(|version| version.contains('.'))
        };
        let own = version(path);
        let other = driver.other_libcuda.iter().find(|other| {
            let strange =
                other.components().any(|part| matches!(part.as_os_str().to_str(), Some("compat" | "stubs" | "wsl")));
            !strange && own.is_some() && version(other).is_some() && version(other) != own
        });
        let Some(other) = other else { return vec![self.pass("one version")] };
        vec![
            self.warn("Two drivers of different versions are installed")
                .seen("programs get this", path.display().to_string())
                .seen("and this lies beside it", other.display().to_string())
                .remedy(match context.family() {
                    Family::Ubuntu | Family::Debian => Remedy::command(
                        "See whose each is, and remove one package",
                        format!("dpkg -S {} {}", path.display(), other.display()),
                    ),
                    Family::Fedora | Family::RedHat | Family::Suse => Remedy::command(
                        "See whose each is, and remove one package",
                        format!("rpm -qf {} {}", path.display(), other.display()),
                    ),
                    _ => Remedy::advice("Remove the one that was not installed by your distribution"),
                }),
        ]
    }
}
