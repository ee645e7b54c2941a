//! All builds and CUDA libraries of the machine: found, examined, and run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::examine::{BuildError, Machinery, examine};
use super::prove::prove;
use super::{Build, cuda_libraries, discover};
use crate::host::Host;
use crate::host::facts::{Facts, ModelFile, ModelFileKind};
use crate::install::receipt::Receipt;
use crate::probe::{self, Request, Wanted};

/// The first CUDA call on Windows may take a minute, while every DLL is scanned.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(90);
/// A model of a gigabyte is read in a second or two from any disk that is in use.
const LARGEST_MODEL: u64 = 1 << 30;
/// Below are vocabularies and tests.
const SMALLEST_MODEL: u64 = 4 << 20;
/// Builds beyond these are examined and not run.
const MOST_PROBED: usize = 6;
/// Each probe takes some hundred megabytes of the GPU while it runs.
const MOST_AT_ONCE: usize = 4;
/// libllama has a few megabytes; one that holds GPU code as well is not searched.
const LARGEST_LIBRARY_BYTES: u64 = 64 << 20;

/// Fills `facts.builds` and `facts.cuda_libraries`. `only`: look at these builds and search for none.
pub fn survey(facts: &mut Facts, host: &Host, store: &Path, only: &[PathBuf]) -> Result<(), BuildError> {
    let machinery = Machinery::of(facts, host);
    let mut builds = if only.is_empty() {
        let places = discover::candidates(host, store);
        // What merely lies where a build could be is none, and a broken one has its problems in it.
        side_by_side(&places, |place| examine(&host.path(place), &machinery).ok()).into_iter().flatten().collect()
    } else {
        let examined = side_by_side(only, |path| examine(path, &machinery));
        examined.into_iter().collect::<Result<Vec<_>, _>>()?
    };
    let architectures = architectures(facts);
    for build in &mut builds {
        build.problems.extend(missing_files(&build.path));
        build.unknown_architectures = unknown(build, &architectures);
    }
    // A recorded machine is not here to run anything.
    if matches!(host, Host::Live) {
        let first = builds.len().min(MOST_PROBED);
        let model = small_model(facts);
        // Whether it computes is asked of the build that matters, or of those that were named.
        let numbered: Vec<(usize, &Build)> = builds[..first].iter().enumerate().collect();
        let reports = side_by_side(&numbered, |(index, build)| {
            let model = model.clone().filter(|_| *index == 0 || !only.is_empty());
            probe::run(build, &Wanted { deadline: PROBE_DEADLINE, model })
        });
        for (build, report) in builds.iter_mut().zip(reports) {
            prove(build, &report, &machinery);
        }
    }
    if let Some(windows) = &mut facts.host.windows {
        let folders: Vec<PathBuf> =
            builds.iter().map(|build| build.path.clone()).filter(|path| path.is_dir()).collect();
        windows.marked_files = crate::host::mark_of_the_web::marked_files(&folders);
        windows.runtime_copies = crate::host::runtime_copies::runtime_copies(&folders);
    }
    facts.cuda_libraries = cuda_libraries::find(host, &builds);
    facts.builds = builds;
    Ok(())
}

/// Does `work` on every item with a few threads, and gives the answers in the order of the items. A build that is
/// read or run has the time of its reading or its deadline to itself, and the others do not wait for it.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..items.len().min(MOST_AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let answer = work(item);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((index, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The architectures of the models here that llama.cpp could run.
fn architectures(facts: &Facts) -> BTreeSet<String> {
    let headers = facts.models.value().into_iter().flatten().filter_map(|model| model.header.as_ref());
    headers.filter(|header| header.vocabulary).filter_map(|header| header.architecture.clone()).collect()
}

/// Those of them that the build's libllama does not name: it is older than they are. A libllama that cannot be read,
/// or holds its names in another way, is not doubted.
fn unknown(build: &Build, architectures: &BTreeSet<String>) -> Vec<String> {
    let library = Request::of(build, None).and_then(|request| request.parts.llama);
    let Some(bytes) = library.filter(|_| !architectures.is_empty()).and_then(|path| read_small(&path)) else {
        return Vec::new();
    };
    // Linkers keep one copy of equal ends, so only the end of a name is sure to stand there.
    let names = |name: &str| memchr::memmem::find(&bytes, format!("{name}\0").as_bytes()).is_some();
    if !names("llama") {
        return Vec::new();
    }
    architectures.iter().filter(|name| !names(name)).cloned().collect()
}

fn read_small(path: &Path) -> Option<Vec<u8>> {
    let small = fs_err::metadata(path).is_ok_and(|metadata| metadata.len() <= LARGEST_LIBRARY_BYTES);
    small.then(|| fs_err::read(path).ok()).flatten()
}

/// The smallest whole model on the machine, if it is small enough to be loaded for a proof.
pub fn small_model(facts: &Facts) -> Option<PathBuf> {
    /// Names of files that make no tokens by themselves.
    const OTHERS: [&str; 6] = ["mmproj", "embed", "bert", "rerank", "vocab", "-of-"];
    let models = facts.models.value()?.iter();
    let is_fit = |model: &&ModelFile| {
        let name = model.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        model.kind == ModelFileKind::Gguf
            && model.truncated_by.is_none()
            && (SMALLEST_MODEL..=LARGEST_MODEL).contains(&model.size.0)
            && OTHERS.iter().all(|other| !name.contains(other))
    };
    models.filter(is_fit).min_by_key(|model| model.size).map(|model| model.path.clone())
}

/// What differs from the receipt of a build that we installed. One without a receipt is not ours to compare.
fn missing_files(path: &Path) -> Vec<String> {
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    Receipt::read(folder).and_then(|receipt| receipt.differences(folder, false)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..40).collect();
        let slow_first = |item: &u64| {
            std::thread::sleep(Duration::from_millis(if *item < 3 { 20 } else { 0 }));
            item * 2
        };
        assert_eq!(side_by_side(&items, slow_first), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(side_by_side(&[], slow_first).is_empty());
    }
}
