//! The child: loads a build and tells what it sees. Whatever it loads may crash it; that is what it is for.

mod token;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(unix)]
use libloading::os::unix::{Library, Symbol};
#[cfg(windows)]
use libloading::os::windows::{Library, Symbol};

use super::{Event, LINE_PREFIX, Request};
use crate::build::Device;

const LONGEST_REQUEST_BYTES: u64 = 1 << 20;
/// No machine has more backends or devices; a broken library might say so.
const MOST_LISTED: usize = 256;
/// On more GPUs than these no token is computed.
const MOST_TOKENS: usize = 8;

#[cfg(unix)]
mod flags {
    pub(super) type Flags = libc::c_int;
    /// As ggml opens its backends (ggml-backend-dl.cpp).
    pub(super) const OPEN_AS_GGML: Flags = libc::RTLD_NOW | libc::RTLD_LOCAL;
    /// What the program would bring is not called.
    pub(super) const OPEN_LAZILY: Flags = libc::RTLD_LAZY | libc::RTLD_LOCAL;
    pub(super) const OPEN_FOR_OTHERS: Flags = libc::RTLD_LAZY | libc::RTLD_GLOBAL;
}
#[cfg(windows)]
mod flags {
    /// `LOAD_LIBRARY_FLAGS`
    pub(super) type Flags = u32;
    /// The child lies elsewhere: this lets the library find what lies beside it, as beside its program.
    pub(super) const OPEN_AS_GGML: Flags = libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH;
    pub(super) const OPEN_LAZILY: Flags = OPEN_AS_GGML;
    pub(super) const OPEN_FOR_OTHERS: Flags = OPEN_AS_GGML;
}
use flags::{Flags, OPEN_AS_GGML, OPEN_FOR_OTHERS, OPEN_LAZILY};

/// Reads the request from stdin, writes events to stdout. The exit code only tells that the request was none.
pub fn run() -> ExitCode {
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST_REQUEST_BYTES).read_to_string(&mut text);
    let Some(request) = read.ok().and_then(|_| serde_json::from_str::<Request>(&text).ok()) else {
        return ExitCode::from(crate::failure::Kind::Usage as u8);
    };
    probe(&request);
    tell(&Event::End);
    ExitCode::SUCCESS
}

fn probe(request: &Request) {
    if let Some(linked) = &request.linked {
        return probe_linked(linked, request);
    }
    let base = request.parts.base.as_deref().and_then(open);
    let ggml = request.parts.ggml.as_deref().and_then(open);
    for module in &request.modules {
        // Kept open: unloading a backend is not what programs do.
        std::mem::forget(open(module));
    }
    let llama = request.parts.llama.as_deref().and_then(open);
    if let (Some(base), Some(ggml)) = (&base, &ggml) {
        load_backends(base, ggml, Some(&request.folder));
        examine(base, ggml, llama.as_ref(), request);
    }
    // Destructors of GPU libraries are another place to crash; the process ends anyway.
    std::mem::forget((base, ggml, llama));
}

/// One file with all of llama.cpp linked into it, made to be loaded by Node or Python.
fn probe_linked(file: &Path, request: &Request) {
    if let Some(host) = &request.host_library {
        std::mem::forget(open_with(host, OPEN_FOR_OTHERS));
    }
    let Some(library) = open_with(file, OPEN_LAZILY) else { return };
    if symbol::<unsafe extern "C" fn() -> *const c_char>(&library, b"llama_print_system_info\0").is_none() {
        let why = "it is loaded, and exports nothing of llama.cpp that could be asked".to_owned();
        tell(&Event::Closed { why });
    } else {
        load_backends(&library, &library, None);
        examine(&library, &library, Some(&library), request);
    }
    std::mem::forget(library);
}

/// Everything that is asked once the backends are there.
fn examine(base: &Library, ggml: &Library, llama: Option<&Library>, request: &Request) {
    list_backends(base, ggml);
    let devices = list_devices(base, ggml);
    if let Some(llama) = llama {
        begin("llama_print_system_info");
        if let Some(text) = text_of(llama, b"llama_print_system_info\0") {
            tell(&Event::SystemInfo { text });
        }
    }
    for path in mapped() {
        tell(&Event::Mapped { path });
    }
    if let (Some(llama), Some(model)) = (llama, &request.model) {
        log_errors(base, llama);
        let gpus: Vec<&(String, bool, Pointer)> = devices.iter().filter(|(_, is_gpu, _)| *is_gpu).collect();
        for (name, _, pointer) in gpus.iter().take(MOST_TOKENS) {
            token::compute(llama, model, name, Some(*pointer));
        }
        if gpus.is_empty() {
            token::compute(llama, model, "CPU", None);
        }
    }
}

type Pointer = *const c_void;

#[expect(unsafe_code, reason = "calls ggml's C interface, ggml/include/ggml-backend.h of b11434")]
fn load_backends(base: &Library, ggml: &Library, folder: Option<&Path>) {
    begin("ggml_backend_load_all_from_path");
    // SAFETY: the signatures are those of the header; they have not changed since the functions exist.
    unsafe {
        if let Ok(log_set) = base.get::<unsafe extern "C" fn(LogCallback, Pointer)>(b"ggml_log_set\0") {
            log_set(log, std::ptr::null());
        }
        if let Ok(load_all) = ggml.get::<unsafe extern "C" fn(*const c_char)>(b"ggml_backend_load_all_from_path\0")
            && let Some(path) = folder.and_then(|folder| CString::new(folder.to_string_lossy().as_bytes()).ok())
        {
            load_all(path.as_ptr());
        }
    }
}

/// From here on only what matters is kept of the log: libllama tells every tensor.
#[expect(unsafe_code, reason = "calls llama.cpp's C interface")]
fn log_errors(base: &Library, llama: &Library) {
    // SAFETY: `void llama_log_set(ggml_log_callback, void *)` (include/llama.h), and the same of ggml.
    unsafe {
        for (library, name) in [(base, b"ggml_log_set\0".as_slice()), (llama, b"llama_log_set\0")] {
            if let Some(log_set) = symbol::<unsafe extern "C" fn(LogCallback, Pointer)>(library, name) {
                log_set(log_of_model, std::ptr::null());
            }
        }
    }
}

#[expect(unsafe_code, reason = "calls ggml's C interface, ggml/include/ggml-backend.h of b11434")]
fn list_backends(base: &Library, ggml: &Library) {
    begin("listing the backends");
    // SAFETY: as in `load_backends`; a registration begins with its `int api_version` (ggml-backend-impl.h) and is never freed.
    unsafe {
        let (Ok(count), Ok(get), Ok(name), Ok(devices)) = (
            ggml.get::<unsafe extern "C" fn() -> usize>(b"ggml_backend_reg_count\0"),
            ggml.get::<unsafe extern "C" fn(usize) -> Pointer>(b"ggml_backend_reg_get\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> *const c_char>(b"ggml_backend_reg_name\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> usize>(b"ggml_backend_reg_dev_count\0"),
        ) else {
            return;
        };
        for index in 0..count().min(MOST_LISTED) {
            let registration = get(index);
            if registration.is_null() {
                continue;
            }
            let api_version = *registration.cast::<c_int>();
            tell(&Event::Backend {
                name: text(name(registration)),
                api_version: api_version.try_into().unwrap_or_default(),
                devices: devices(registration) as u32,
            });
        }
    }
}

/// Name, whether it is a GPU, and ggml's pointer of each.
#[expect(unsafe_code, reason = "calls ggml's C interface, ggml/include/ggml-backend.h of b11434")]
fn list_devices(base: &Library, ggml: &Library) -> Vec<(String, bool, Pointer)> {
    begin("listing the devices");
    let mut found = Vec::new();
    // SAFETY: as in `load_backends`; `ggml_backend_dev_memory` writes free, then total.
    unsafe {
        let (Ok(count), Ok(get), Ok(name), Ok(description), Ok(memory), Ok(kind), Ok(registration), Ok(backend)) = (
            ggml.get::<unsafe extern "C" fn() -> usize>(b"ggml_backend_dev_count\0"),
            ggml.get::<unsafe extern "C" fn(usize) -> Pointer>(b"ggml_backend_dev_get\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> *const c_char>(b"ggml_backend_dev_name\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> *const c_char>(b"ggml_backend_dev_description\0"),
            base.get::<unsafe extern "C" fn(Pointer, *mut usize, *mut usize)>(b"ggml_backend_dev_memory\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> c_int>(b"ggml_backend_dev_type\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> Pointer>(b"ggml_backend_dev_backend_reg\0"),
            base.get::<unsafe extern "C" fn(Pointer) -> *const c_char>(b"ggml_backend_reg_name\0"),
        ) else {
            return found;
        };
        for index in 0..count().min(MOST_LISTED) {
            let device = get(index);
            if device.is_null() {
                continue;
            }
            let (mut free, mut total) = (0, 0);
            // On CUDA this makes a context: the first call that really needs the GPU.
            begin(&format!("asking {} for its memory", text(name(device))));
            memory(device, &raw mut free, &raw mut total);
            tell(&Event::Device(Device {
                name: text(name(device)),
                description: text(description(device)),
                backend: text(backend(registration(device))),
                kind: match kind(device) {
                    0 => "cpu",
                    1 => "gpu",
                    2 => "igpu",
                    3 => "accel",
                    _ => "other",
                }
                .to_owned(),
                free_bytes: free as u64,
                total_bytes: total as u64,
                compute_capability: None,
            }));
            found.push((text(name(device)), matches!(kind(device), 1 | 2), device));
        }
    }
    found
}

type LogCallback = extern "C" fn(c_int, *const c_char, Pointer);

extern "C" fn log(_level: c_int, message: *const c_char, _data: Pointer) {
    let text = text(message);
    if !text.trim().is_empty() {
        tell(&Event::Log { text: text.trim_end().to_owned() });
    }
}

/// Levels 4 and above are errors (`ggml_log_level`, ggml/include/ggml.h).
extern "C" fn log_of_model(level: c_int, message: *const c_char, _data: Pointer) {
    let text = text(message);
    if level == 4 || text.contains("offloaded ") {
        tell(&Event::Log { text: text.trim_end().to_owned() });
    }
}

#[expect(unsafe_code, reason = "looks a name up; what it is taken for is the caller's to know")]
fn symbol<T>(library: &Library, name: &[u8]) -> Option<Symbol<T>> {
    // SAFETY: each caller names the header that its type is from.
    unsafe { library.get::<T>(name).ok() }
}

#[expect(unsafe_code, reason = "calls a C function that returns a constant text")]
fn text_of(library: &Library, symbol: &[u8]) -> Option<String> {
    // SAFETY: `const char * llama_print_system_info(void)` (include/llama.h).
    unsafe {
        let function = library.get::<unsafe extern "C" fn() -> *const c_char>(symbol).ok()?;
        Some(text(function()))
    }
}

#[expect(unsafe_code, reason = "reads a text that C code gave us")]
fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: ggml's texts end with a zero and live as long as the call that we are in.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn open(path: &Path) -> Option<Library> {
    open_with(path, OPEN_AS_GGML)
}

#[expect(unsafe_code, reason = "loading a library runs its initialisers: the child is there for that")]
fn open_with(path: &Path, flags: Flags) -> Option<Library> {
    begin(&format!("loading {}", path.file_name().unwrap_or_default().to_string_lossy()));
    #[cfg(unix)]
    // SAFETY: any crash ends only this process.
    let opened = unsafe { Library::open(Some(path), flags) };
    #[cfg(windows)]
    // SAFETY: any crash ends only this process.
    let opened = unsafe { Library::load_with_flags(path, flags) };
    match opened {
        Ok(library) => {
            tell(&Event::Opened { file: path.to_owned() });
            Some(library)
        }
        Err(error) => {
            let error = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            tell(&Event::OpenFailed { file: path.to_owned(), error });
            None
        }
    }
}

/// The files of CUDA that this process has mapped, and ggml's module for the processor.
fn mapped() -> Vec<PathBuf> {
    let is_telling = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        crate::manifest::libraries::libraries().role_of(&name).is_some() || name.contains("ggml-cpu")
    };
    let paths: std::collections::BTreeSet<PathBuf> = modules().into_iter().filter(is_telling).collect();
    paths.into_iter().collect()
}

#[cfg(unix)]
fn modules() -> Vec<PathBuf> {
    // Without the kernel's list nothing is known to be mapped.
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))).collect()
}

#[cfg(windows)]
#[expect(unsafe_code, reason = "Windows lists modules through C functions only")]
fn modules() -> Vec<PathBuf> {
    use std::os::windows::ffi::OsStringExt as _;
    use windows_sys::Win32::System::ProcessStatus::{K32EnumProcessModules, K32GetModuleFileNameExW};
    use windows_sys::Win32::System::Threading::GetCurrentProcess;
    let mut handles = [std::ptr::null_mut(); 1024];
    let mut bytes = 0;
    // SAFETY: `handles` holds the bytes that are announced; the process's own handle needs no closing.
    let listed = unsafe {
        K32EnumProcessModules(GetCurrentProcess(), handles.as_mut_ptr(), size_of_val(&handles) as u32, &raw mut bytes)
    };
    if listed == 0 {
        return Vec::new();
    }
    let count = (bytes as usize / size_of_val(&handles[0])).min(handles.len());
    let path = |handle: &_| {
        let mut name = [0_u16; 1024];
        // SAFETY: the module belongs to this process; `name` holds the units that are announced.
        let length =
            unsafe { K32GetModuleFileNameExW(GetCurrentProcess(), *handle, name.as_mut_ptr(), name.len() as u32) };
        PathBuf::from(std::ffi::OsString::from_wide(&name[..length as usize]))
    };
    handles[..count].iter().map(path).collect()
}

fn begin(step: &str) {
    tell(&Event::Begin { step: step.to_owned() });
}

/// A parent that is gone needs no answer.
fn tell(event: &Event) {
    let Ok(line) = serde_json::to_string(event) else { return };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{LINE_PREFIX}{line}").and_then(|()| out.flush());
}
