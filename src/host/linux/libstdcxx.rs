//! How new the C++ library is that the loader gives to programs: official builds are C++ and bring none of their own.

use crate::binary::{self, Depth};
use crate::host::Host;
use crate::host::facts::{Fact, Origin};
use crate::loader::linux::{Loaded, Loader};

const NAME: &str = "libstdc++.so.6";

/// `3.4.30`, the newest `GLIBCXX_` version; `none` where the loader finds no such library.
pub(super) fn version(host: &Host) -> Fact<String> {
    // This program asks for it, so that the search is the loader's own, `LD_LIBRARY_PATH` and all.
    let path = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return Fact::unknown(format!("this program does not find itself: {error}")),
    };
    let asking = match binary::read_file(&path, Depth::Links) {
        Ok(image) => Loaded { path, image },
        Err(error) => return Fact::unknown(format!("`{}`: {error}", path.display())),
    };
    let Some(found) = Loader::new(host).locate(NAME, &asking) else {
        return match host {
            Host::Live => Fact::known("none".to_owned(), Origin::LoaderCache),
            Host::Recorded { .. } => Fact::default(),
        };
    };
    match newest(&found.image.provided_versions) {
        Some(version) => Fact::known(version.to_owned(), Origin::File),
        None => Fact::unknown(format!("`{}` names no version of its own", found.path.display())),
    }
}

fn newest(provided: &[String]) -> Option<&str> {
    let numbers = |version: &str| version.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
    let versions = provided.iter().filter_map(|text| text.strip_prefix("GLIBCXX_"));
    versions.filter(|version| numbers(version).is_some()).max_by_key(|version| numbers(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        let provided =
            ["GLIBCXX_3.4", "GLIBCXX_3.4.9", "GLIBCXX_3.4.30", "GLIBCXX_DEBUG_MESSAGE_LENGTH", "CXXABI_1.3.13"];
        assert_eq!(newest(&provided.map(str::to_owned)), Some("3.4.30"));
        assert_eq!(newest(&[]), None);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn this_machine_answers() {
        // rustc itself is linked with it, so a machine that runs this test may still have none.
        let version = version(&Host::Live);
        assert!(version.value().is_some_and(|text| text == "none" || text.starts_with("3.4")), "{version:?}");
    }
}
