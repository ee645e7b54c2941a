//! The search of the Windows loader: on recorded machines everywhere, against Windows itself where the test runs on it.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use llama_doctor::binary::{self, Depth};
use llama_doctor::host::Host;
use llama_doctor::loader::Dependency;
use llama_doctor::loader::linux::Loaded;
use llama_doctor::loader::windows::{Loader, Opening, Question};

fn resolve(host: &Host, path: &Path, opening: &Opening, beside: &[&str]) -> Vec<Dependency> {
    let image = binary::read_file(&host.path(path), Depth::Links).unwrap();
    let file = Loaded { path: path.to_owned(), image };
    let beside: BTreeSet<String> = beside.iter().map(|name| (*name).to_owned()).collect();
    Loader::new(host).resolve(&Question { file: &file, opening, beside: &beside })
}

/// Paths of a recorded machine cannot be tried on Windows, where `C:/` leads out of the recording.
#[cfg(unix)]
mod recorded {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use llama_doctor::host::known_dlls::KNOWN_DLLS_COMMAND;
    use llama_doctor::loader::DependencyState;

    use super::support::binaries::TinyPe;
    use super::*;

    const SYSTEM32: &str = "C:/Windows/System32";
    const CUDART: &str = "cudart64_13.dll";

    /// A Windows in a folder.
    struct Machine {
        root: tempfile::TempDir,
        environment: BTreeMap<std::ffi::OsString, std::ffi::OsString>,
    }

    impl Machine {
        fn new() -> Self {
            let environment = [("SystemRoot".into(), r"C:\Windows".into())].into();
            let machine = Self { root: tempfile::tempdir().unwrap(), environment };
            machine.file(&format!("{SYSTEM32}/KERNEL32.DLL"), &TinyPe::new());
            machine
        }

        fn file(&self, path: &str, pe: &TinyPe) -> &Self {
            let path = self.root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, pe.bytes()).unwrap();
            self
        }

        fn answers(&self, path: &str, opening: &Opening, beside: &[&str]) -> Vec<Dependency> {
            let known = "    DllDirectory    REG_SZ    C:\\x\n    kernel32    REG_SZ    kernel32.dll\n";
            let outputs = [(KNOWN_DLLS_COMMAND.to_owned(), known.as_bytes().to_vec())].into();
            let host =
                Host::Recorded { root: self.root.path().to_owned(), environment: self.environment.clone(), outputs };
            resolve(&host, Path::new(path), opening, beside)
        }

        fn answer(&self, path: &str, opening: &Opening, name: &str) -> Dependency {
            let answers = self.answers(path, opening, &[]);
            answers.iter().find(|answer| answer.name == name).unwrap_or_else(|| panic!("{answers:?}")).clone()
        }
    }

    fn backend() -> TinyPe {
        TinyPe::new().needs("KERNEL32.dll", &["Sleep"]).needs(CUDART, &["cudaMalloc"])
    }

    fn cudart() -> TinyPe {
        TinyPe::new().exports(&["cudaFree", "cudaMalloc"])
    }

    fn program(folder: &str) -> Opening {
        Opening::Program { folder: PathBuf::from(folder) }
    }

    #[test]
    fn a_programs_order() {
        let mut machine = Machine::new();
        let (path, opening) = ("C:/llama/ggml-cuda.dll", program("C:/llama"));
        machine.file(path, &backend());
        machine.environment.insert("PATH".into(), r"C:\other;C:\cuda\bin".into());
        let answer = machine.answer(path, &opening, CUDART);
        assert_eq!(answer.state, DependencyState::Missing);
        assert_eq!(answer.detail, "not in the program's folder, System32, the Windows folder, PATH");
        assert_eq!(answer.needed_by, "ggml-cuda.dll");
        for (folder, rule) in [
            ("C:/cuda/bin", "PATH (C:/cuda/bin)"),
            ("C:/Windows", "the Windows folder"),
            (SYSTEM32, "System32"),
            ("C:/llama", "the program's folder"),
        ] {
            // Windows does not tell cases apart.
            machine.file(&format!("{folder}/CUDART64_13.dll"), &cudart());
            let answer = machine.answer(path, &opening, CUDART);
            assert_eq!((answer.state, answer.detail.as_str()), (DependencyState::Found, rule));
            assert_eq!(answer.path.unwrap(), Path::new(folder).join("CUDART64_13.dll"));
        }
    }

    #[test]
    fn a_known_dll_comes_from_system32() {
        let machine = Machine::new();
        machine.file("C:/llama/ggml-cuda.dll", &backend()).file("C:/llama/kernel32.dll", &TinyPe::new());
        let answer = machine.answer("C:/llama/ggml-cuda.dll", &program("C:/llama"), "KERNEL32.dll");
        assert_eq!(
            (answer.detail.as_str(), answer.path.unwrap()),
            ("a known DLL: System32", PathBuf::from(SYSTEM32).join("KERNEL32.DLL"))
        );
    }

    #[test]
    fn another_processor_and_another_version_are_told() {
        let machine = Machine::new();
        let (path, opening) = ("C:/llama/ggml-cuda.dll", program("C:/llama"));
        machine.file(path, &backend()).file("C:/llama/cudart64_13.dll", &TinyPe { machine: Some(0xAA64), ..cudart() });
        let answer = machine.answer(path, &opening, CUDART);
        assert_eq!(answer.state, DependencyState::Missing);
        assert!(answer.detail.contains("is for aarch64, not x86_64"), "{}", answer.detail);
        machine.file("C:/llama/cudart64_13.dll", &TinyPe::new().exports(&["cudaFree"]));
        let answer = machine.answer(path, &opening, CUDART);
        assert_eq!(answer.state, DependencyState::Unusable);
        assert!(answer.detail.ends_with("is of another version: it lacks `cudaMalloc`"), "{}", answer.detail);
    }

    #[test]
    fn api_sets_are_served_by_what_the_schema_says() {
        let machine = Machine::new();
        let needs = |name| TinyPe::new().needs(name, &[]);
        machine.file("C:/llama/ggml-base.dll", &needs("api-ms-win-crt-heap-l1-1-0.dll"));
        let answer = machine.answer("C:/llama/ggml-base.dll", &program("C:/llama"), "api-ms-win-crt-heap-l1-1-0.dll");
        // This recorded Windows has no schema to look into.
        assert_eq!(answer.state, DependencyState::System);
    }

    #[test]
    fn inside_node_the_librarys_own_folder_does_not_count() {
        let mut machine = Machine::new();
        machine.environment.insert("PATH".into(), r"C:\nodejs".into());
        let build = "C:/app/node_modules/@node-llama-cpp/win-x64-cuda/bins";
        let path = format!("{build}/ggml-cuda.dll");
        machine.file(&path, &backend().needs("ggml-base.dll", &[])).file("C:/nodejs/node.exe", &TinyPe::new());
        machine.file(&format!("{build}/ggml-base.dll"), &TinyPe::new()).file(&format!("{build}/{CUDART}"), &cudart());
        let answers = machine.answers(&path, &Opening::InsideNode, &["ggml-base.dll"]);
        let of = |name: &str| answers.iter().find(|answer| answer.name == name).unwrap();
        assert_eq!(of("ggml-base.dll").detail, "part of the same build");
        assert_eq!(of(CUDART).state, DependencyState::Missing);
        assert!(
            of(CUDART).detail.contains("Windows looks beside the program, not beside the library"),
            "{}",
            of(CUDART).detail
        );
        assert_eq!(machine.answer(&path, &Opening::NodeAddon, CUDART).detail, "the addon's folder");
    }

    #[test]
    fn python_has_two_ways() {
        let mut machine = Machine::new();
        machine.environment.insert("PATH".into(), r"C:\onpath".into());
        machine.environment.insert("CUDA_PATH".into(), r"C:\toolkit".into());
        let packages = "C:/env/Lib/site-packages";
        let (module, library) =
            (format!("{packages}/xllamacpp/xllamacpp.pyd"), format!("{packages}/llama_cpp/lib/ggml-cuda.dll"));
        machine.file(&module, &backend()).file(&library, &backend()).file("C:/env/Scripts/python.exe", &TinyPe::new());
        // An import does not look at PATH, ctypes with winmode=0 does not look at added folders.
        machine.file("C:/toolkit/bin/cudart64_13.dll", &cudart());
        let answer = machine.answer(&library, &Opening::PythonCtypes, CUDART);
        assert_eq!(answer.state, DependencyState::Missing);
        assert!(answer.detail.contains("winmode=0 leaves out"), "{}", answer.detail);
        machine.file("C:/onpath/cudart64_13.dll", &cudart());
        assert_eq!(machine.answer(&library, &Opening::PythonCtypes, CUDART).detail, "PATH (C:/onpath)");
        let answer = machine.answer(&module, &Opening::PythonImport, CUDART);
        assert_eq!(answer.state, DependencyState::Missing);
        assert!(
            answer.detail.starts_with("not in the module's folder, the folder of python.exe, System32;"),
            "{}",
            answer.detail
        );
        let wheel = format!("{packages}/nvidia/cu13/bin/x86_64/cudart64_13.dll");
        machine.environment.remove(std::ffi::OsStr::new("CUDA_PATH"));
        machine.file(&wheel, &cudart());
        let answer = machine.answer(&module, &Opening::PythonImport, CUDART);
        assert!(answer.detail.contains("call os.add_dll_directory"), "{}", answer.detail);
        machine.file(&format!("{packages}/torch/lib/cudart64_13.dll"), &cudart());
        let answer = machine.answer(&module, &Opening::PythonImport, CUDART);
        assert!(answer.detail.contains("imports torch first"), "{}", answer.detail);
        machine.file(&format!("{packages}/xllamacpp.libs/cudart64_13.dll"), &cudart());
        let answer = machine.answer(&module, &Opening::PythonImport, CUDART);
        assert_eq!(answer.detail, "os.add_dll_directory of the wheel (xllamacpp.libs)");
    }

    const MANIFEST: &str = r#"<assembly><dependency><dependentAssembly><assemblyIdentity name="Microsoft.VC90.CRT"
        version="9.0.21022.8" processorArchitecture="amd64" publicKeyToken="1fc8b3b9a1e18e3b"/></dependentAssembly></dependency></assembly>"#;

    #[test]
    fn assemblies_are_looked_for_side_by_side_and_beside() {
        let machine = Machine::new();
        let path = "C:/llama/old.dll";
        machine.file(path, &TinyPe { manifest: Some(MANIFEST), ..TinyPe::new().needs("msvcr90.dll", &[]) });
        let name = "Microsoft.VC90.CRT 9.0.21022.8 (side by side)";
        let answers = machine.answers(path, &program("C:/llama"), &[]);
        assert_eq!((answers[0].name.as_str(), answers[0].state), (name, DependencyState::Missing));
        assert_eq!(answers[1].state, DependencyState::Missing);
        // Older than asked, and of another release: neither serves.
        for version in ["9.0.1.1", "8.0.50727.9", "9.0.30729.1", "9.0.30729.6161"] {
            let folder = format!("C:/Windows/WinSxS/amd64_microsoft.vc90.crt_1fc8b3b9a1e18e3b_{version}_none_0");
            machine.file(&format!("{folder}/msvcr90.dll"), &TinyPe::new());
        }
        let answers = machine.answers(path, &program("C:/llama"), &[]);
        assert_eq!(answers[0].state, DependencyState::Found);
        assert!(answers[1].path.as_ref().unwrap().to_string_lossy().contains("9.0.30729.6161"), "{:?}", answers[1]);
        assert_eq!(answers[1].detail, "side by side (Microsoft.VC90.CRT)");
    }

    #[test]
    fn a_local_folder_counts_for_programs_without_a_manifest() {
        let machine = Machine::new();
        let path = "C:/llama/ggml-cuda.dll";
        machine.file(path, &backend()).file("C:/llama/llama-server.exe", &TinyPe::new());
        machine.file("C:/llama/cudart64_13.dll", &cudart());
        machine.file("C:/llama/llama-server.exe.local/cudart64_13.dll", &cudart());
        let answer = machine.answer(path, &program("C:/llama"), CUDART);
        assert_eq!(answer.detail, "the program's `.local` folder");
        machine.file("C:/llama/llama-server.exe", &TinyPe { manifest: Some("<assembly/>"), ..TinyPe::new() });
        assert_eq!(machine.answer(path, &program("C:/llama"), CUDART).detail, "the program's folder");
    }
}

/// A Windows library seen from Linux.
#[cfg(unix)]
#[test]
fn from_afar_what_is_windows_own_is_taken_for_granted() {
    use llama_doctor::loader::DependencyState;
    use support::binaries::TinyPe;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ggml-cuda.dll");
    let needs = ["KERNEL32.dll", "api-ms-win-crt-heap-l1-1-0.dll", "nvcuda.dll", "MSVCP140.dll", "cudart64_13.dll"];
    let pe = needs.iter().fold(TinyPe::new(), |pe, name| pe.needs(name, &[]));
    fs_err::write(&path, pe.bytes()).unwrap();
    let opening = Opening::Program { folder: folder.path().to_owned() };
    let answers = resolve(&Host::Live, &path, &opening, &[]);
    let states: Vec<DependencyState> = answers.iter().map(|answer| answer.state).collect();
    let taken = DependencyState::System;
    assert_eq!(states, [taken, taken, taken, taken, DependencyState::Missing]);
    assert_eq!(answers[4].detail, "not in the program's folder");
}

/// What Windows itself loads must be found, and from where Windows loads it.
#[cfg(windows)]
#[test]
fn this_program_resolves_as_windows_did() {
    let path = std::env::current_exe().unwrap();
    let opening = Opening::Program { folder: path.parent().unwrap().to_owned() };
    let answers = resolve(&Host::Live, &path, &opening, &[]);
    assert!(!answers.is_empty());
    for answer in &answers {
        assert!(answer.is_satisfied(), "{answer:?}");
        assert!(answer.path.as_ref().is_none_or(|path| path.is_file()), "{answer:?}");
    }
    let kernel = answers.iter().find(|answer| answer.name.eq_ignore_ascii_case("kernel32.dll")).unwrap();
    assert!(kernel.path.as_ref().unwrap().to_string_lossy().to_ascii_lowercase().contains("system32"));
}

/// Every Windows has the C runtime's API sets, and says which library serves them.
#[cfg(windows)]
#[test]
fn this_windows_api_sets_have_hosts() {
    use llama_doctor::loader::windows::api_sets::ApiSets;
    let schema = Path::new(r"C:\Windows\System32\apisetschema.dll");
    let sets = ApiSets::read(&binary::section(schema, b".apiset").unwrap()).unwrap();
    assert_eq!(sets.host("api-ms-win-crt-runtime-l1-1-0.dll"), Some("ucrtbase.dll"));
    assert!(sets.host("api-ms-win-core-synch-l1-2-0.dll").is_some());
}
