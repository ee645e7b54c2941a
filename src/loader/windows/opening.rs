//! How a program opens a library, because on Windows the opener decides where what it needs is looked for.
//!
//! Source for the orders: <https://learn.microsoft.com/windows/win32/dlls/dynamic-link-library-search-order>, checked 2026-11-24.

use std::path::{Path, PathBuf};

/// The ways in which llama.cpp's libraries get opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// `LoadLibraryW` in a program of this folder, as ggml opens its backends (`ggml-backend-dl.cpp`): the program's folder,
    /// System32, Windows, `PATH`. The library's own folder counts only if it is the program's.
    Program { folder: PathBuf },
    /// By ggml inside Node: as by a program, which is `node.exe`, and what the addon brought is loaded already.
    InsideNode,
    /// `require` of Node, which opens addons with `LOAD_WITH_ALTERED_SEARCH_PATH` (libuv, `src/win/dl.c`): the addon's folder
    /// in the place of the program's.
    NodeAddon,
    /// `import` since Python 3.8, with `LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR` (Python's own
    /// `Python/dynload_win.c`): the module's folder, the program's, those of `os.add_dll_directory`, System32. Not `PATH`.
    PythonImport,
    /// `ctypes.CDLL(…, winmode=0)` of `llama_cpp` (`llama_cpp/_ctypes_extensions.py`): the order of a program, with the package's
    /// folder first on `PATH`. Folders of `os.add_dll_directory` do not count for it.
    PythonCtypes,
}

impl Opening {
    /// How the library at `path` gets opened, given the other files of its build.
    pub fn of<'a>(path: &Path, members: &(impl Iterator<Item = &'a Path> + Clone)) -> Self {
        let has = |path: &Path, wanted: &str| {
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if has(path, "node") {
            return Self::NodeAddon;
        }
        if has(path, "pyd") {
            return Self::PythonImport;
        }
        // A program in the same folder is what such a folder is for.
        if members.clone().any(|member| has(member, "exe") && member.parent() == path.parent()) {
            return Self::Program { folder };
        }
        if site_packages(path).is_some() && path.components().any(|part| part.as_os_str() == "llama_cpp") {
            return Self::PythonCtypes;
        }
        if members.clone().any(|member| has(member, "node")) {
            return Self::InsideNode;
        }
        Self::Program { folder }
    }
}

/// The `site-packages` that a file of a Python package lies in.
pub(super) fn site_packages(path: &Path) -> Option<&Path> {
    path.ancestors().find(|folder| folder.file_name().is_some_and(|name| name.eq_ignore_ascii_case("site-packages")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opener_is_told_by_the_files() {
        let of = |path: &str, others: &[&str]| Opening::of(Path::new(path), &others.iter().map(Path::new));
        let folder = PathBuf::from("b");
        assert_eq!(of("b/ggml-cuda.dll", &["b/llama-server.exe"]), Opening::Program { folder: folder.clone() });
        assert_eq!(of("b/ggml-cuda.dll", &["b/llama-addon.node"]), Opening::InsideNode);
        assert_eq!(of("b/llama-addon.node", &[]), Opening::NodeAddon);
        assert_eq!(of("e/Lib/site-packages/xllamacpp/xllamacpp.pyd", &[]), Opening::PythonImport);
        assert_eq!(of("e/Lib/site-packages/llama_cpp/lib/ggml-cuda.dll", &[]), Opening::PythonCtypes);
        assert_eq!(of("b/ggml-cuda.dll", &[]), Opening::Program { folder });
    }
}
