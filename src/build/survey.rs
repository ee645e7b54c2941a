//! All builds and CUDA libraries of the machine: found, examined, and run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::examine::{BuildError, Machinery, examine};
use super::prove::prove;
use super::verdict::Driver;
use super::{cuda_libraries, discover};
use crate::host::Host;
use crate::host::facts::Facts;
use crate::install::receipt::Receipt;
use crate::probe;

/// The first CUDA call on Windows may take a minute, while every DLL is scanned.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(90);
/// Builds beyond these are examined and not run.
const MOST_PROBED: usize = 6;

/// Fills `facts.builds` and `facts.cuda_libraries`. `only`: look at these builds and search for none.
pub fn survey(facts: &mut Facts, host: &Host, store: &Path, only: &[PathBuf]) -> Result<(), BuildError> {
    let driver = Driver::of_machine(facts);
    let machinery = Machinery { host, gpus: &facts.gpus, driver };
    let mut builds = Vec::new();
    if only.is_empty() {
        for place in discover::candidates(host, store) {
            // What merely lies where a build could be is none, and a broken one has its problems in it.
            if let Ok(build) = examine(&host.path(&place), &machinery) {
                builds.push(build);
            }
        }
    } else {
        for path in only {
            builds.push(examine(path, &machinery)?);
        }
    }
    for build in &mut builds {
        build.problems.extend(missing_files(&build.path));
    }
    // A recorded machine is not here to run anything.
    if matches!(host, Host::Live) {
        for build in builds.iter_mut().take(MOST_PROBED) {
            let report = probe::run(build, PROBE_DEADLINE);
            prove(build, &report, &driver);
        }
    }
    if let Some(windows) = &mut facts.host.windows {
        let folders: Vec<PathBuf> =
            builds.iter().map(|build| build.path.clone()).filter(|path| path.is_dir()).collect();
        windows.marked_files = crate::host::mark_of_the_web::marked_files(&folders);
    }
    facts.cuda_libraries = cuda_libraries::find(host, &builds);
    facts.builds = builds;
    Ok(())
}

/// What differs from the receipt of a build that we installed. One without a receipt is not ours to compare.
fn missing_files(path: &Path) -> Vec<String> {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    Receipt::read(folder).and_then(|receipt| receipt.differences(folder, false)).unwrap_or_default()
}
