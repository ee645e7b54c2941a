//! The child: loads a build and tells what it sees. Whatever it loads may crash it; that is what it is for.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(unix)]
use libloading::os::unix::Library;
#[cfg(windows)]
use libloading::os::windows::Library;

use super::{Event, LINE_PREFIX, Request};
use crate::build::Device;

const LONGEST_REQUEST_BYTES: u64 = 1 << 20;
/// No machine has more backends or devices; a broken library might say so.
const MOST_LISTED: usize = 256;

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
    let base = request.parts.base.as_deref().and_then(open);
    let ggml = request.parts.ggml.as_deref().and_then(open);
    for module in &request.modules {
        // Kept open: unloading a backend is not what programs do.
        std::mem::forget(open(module));
    }
    let llama = request.parts.llama.as_deref().and_then(open);
    if let (Some(base), Some(ggml)) = (&base, &ggml) {
        load_backends(base, ggml, &request.folder);
    }
    if let Some(llama) = &llama {
        begin("llama_print_system_info");
        if let Some(text) = text_of(llama, b"llama_print_system_info\0") {
            tell(&Event::SystemInfo { text });
        }
    }
    for path in mapped() {
        tell(&Event::Mapped { path });
    }
    // Destructors of GPU libraries are another place to crash; the process ends anyway.
    std::mem::forget((base, ggml, llama));
}

type Pointer = *const c_void;

#[expect(unsafe_code, reason = "calls ggml's C interface, ggml/include/ggml-backend.h of b11434")]
fn load_backends(base: &Library, ggml: &Library, folder: &Path) {
    begin("ggml_backend_load_all_from_path");
    // SAFETY: the signatures are those of the header; they have not changed since the functions exist.
    unsafe {
        if let Ok(log_set) = base.get::<unsafe extern "C" fn(LogCallback, Pointer)>(b"ggml_log_set\0") {
            log_set(log, std::ptr::null());
        }
        if let Ok(load_all) = ggml.get::<unsafe extern "C" fn(*const c_char)>(b"ggml_backend_load_all_from_path\0")
            && let Ok(path) = CString::new(folder.to_string_lossy().as_bytes())
        {
            load_all(path.as_ptr());
        }
    }
    list_backends(base, ggml);
    list_devices(base, ggml);
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

#[expect(unsafe_code, reason = "calls ggml's C interface, ggml/include/ggml-backend.h of b11434")]
fn list_devices(base: &Library, ggml: &Library) {
    begin("listing the devices");
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
            return;
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
        }
    }
}

type LogCallback = extern "C" fn(c_int, *const c_char, Pointer);

extern "C" fn log(_level: c_int, message: *const c_char, _data: Pointer) {
    let text = text(message);
    if !text.trim().is_empty() {
        tell(&Event::Log { text: text.trim_end().to_owned() });
    }
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

#[expect(unsafe_code, reason = "loading a library runs its initialisers: the child is there for that")]
fn open(path: &Path) -> Option<Library> {
    begin(&format!("loading {}", path.file_name().unwrap_or_default().to_string_lossy()));
    #[cfg(unix)]
    // SAFETY: any crash ends only this process. The flags are ggml's own (ggml-backend-dl.cpp).
    let opened = unsafe { Library::open(Some(path), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    #[cfg(windows)]
    // SAFETY: any crash ends only this process. The flag lets it find what lies beside it.
    let opened = unsafe { Library::load_with_flags(path, libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH) };
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

/// The files of CUDA that this process has mapped.
fn mapped() -> Vec<PathBuf> {
    // Windows' own list needs no reading of files and is not asked yet.
    let Ok(maps) = fs_err::read_to_string("/proc/self/maps") else { return Vec::new() };
    let mut paths: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            crate::manifest::libraries::libraries().role_of(&name).is_some()
        })
        .collect();
    paths.dedup();
    paths
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
