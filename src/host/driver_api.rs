//! What libcuda itself says, asked in a child process: a driver that hangs or crashes takes nothing with it.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use libloading::Library;

use super::facts::{DriverApi, DriverApiDevice, Fact, Origin};
use crate::probe::programs::{self, Said};
use crate::units::{Bytes, ComputeCapability, CudaVersion};

/// Begins the child's line, because a driver may print too.
const LINE_PREFIX: &str = "@llama-doctor-driver ";
/// The first CUDA start after a boot or from a sleeping card takes seconds; a broken driver takes forever.
const LIMIT: Duration = Duration::from_secs(8);
/// Source: cuda.h, `CUdevice_attribute`.
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// The question under way: see [`start`].
pub(super) struct Asking {
    library: PathBuf,
    program: Result<programs::Asked, String>,
}

/// Begins to ask through this program's hidden subcommand. `library` is what the loader gives.
pub(super) fn start(library: &Path) -> Asking {
    let asked = std::env::current_exe().map_err(|error| error.to_string()).and_then(|program| {
        programs::ask(Command::new(program).arg(crate::cli::DRIVER_CHILD), LINE_PREFIX, LIMIT)
            .map_err(|error| format!("no child process could be started: {error}"))
    });
    Asking { library: library.to_owned(), program: asked }
}

impl Asking {
    /// What CUDA said. Its process is not waited for beyond that.
    pub(super) fn answer(self) -> Fact<DriverApi> {
        let library = self.library;
        let asked = match self.program {
            Ok(asked) => asked.answer(),
            Err(why) => return Fact::unknown(why),
        };
        let died = |why: String| DriverApi {
            library: library.clone(),
            init: None,
            died: Some(why),
            cuda: None,
            devices: Vec::new(),
        };
        let api = match asked {
            Ok(Said::Line(line)) => match serde_json::from_str::<DriverApi>(&line) {
                Ok(api) => DriverApi { library, ..api },
                Err(error) => return Fact::unknown(format!("the child process answered in another form: {error}")),
            },
            Ok(Said::TimedOut) => died(format!("it gave no answer in {} seconds", LIMIT.as_secs())),
            Ok(Said::Ended(status)) => match programs::bad_end(status) {
                Some(end) => died(end),
                None => return Fact::unknown("the child process did not ask the driver"),
            },
            Err(error) => return Fact::unknown(error.to_string()),
        };
        Fact::known(api, Origin::DriverApi)
    }

    /// Nothing here can be asked: the process is ended.
    pub(super) fn leave(self) {
        if let Ok(asked) = self.program {
            asked.leave();
        }
    }
}

/// The child: asks, prints one line, ends. Every answer of the driver is a good end.
pub fn run_child() -> ExitCode {
    let name = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
    #[expect(unsafe_code, reason = "the driver's library runs its own code when it is loaded")]
    // SAFETY: it is the driver's library, which every CUDA program loads; this process does nothing else.
    let Ok(library) = (unsafe { Library::new(name) }) else { return ExitCode::SUCCESS };
    let api = ask(&library).unwrap_or(DriverApi {
        library: PathBuf::new(),
        init: None,
        died: Some("the library lacks CUDA's functions".to_owned()),
        cuda: None,
        devices: Vec::new(),
    });
    let text = serde_json::to_string(&api).unwrap_or_default();
    // A parent that is gone needs no answer.
    let _ = writeln!(std::io::stdout(), "{LINE_PREFIX}{text}");
    // The driver's own clean-up at the end of the library can hang; the answer is out.
    std::mem::forget(library);
    ExitCode::SUCCESS
}

type Init = unsafe extern "C" fn(c_uint) -> c_uint;
type Number = unsafe extern "C" fn(*mut c_int) -> c_uint;
type GetDevice = unsafe extern "C" fn(*mut c_int, c_int) -> c_uint;
type Text = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_uint;
type Attribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_uint;
type Size = unsafe extern "C" fn(*mut usize, c_int) -> c_uint;

#[expect(unsafe_code, reason = "CUDA's driver API is C")]
fn ask(library: &Library) -> Option<DriverApi> {
    // SAFETY: the signatures are those of cuda.h; every pointer is to a value that outlives its call, and every text
    // buffer is as long as the call is told.
    unsafe {
        let init = library.get::<Init>(b"cuInit\0").ok()?;
        let version = library.get::<Number>(b"cuDriverGetVersion\0").ok()?;
        let mut number = 0;
        // The version can be asked before the start.
        let cuda = (version(&raw mut number) == 0).then(|| CudaVersion::from_integer(number)).flatten();
        let code = init(0);
        let mut api = DriverApi { library: PathBuf::new(), init: Some(code), died: None, cuda, devices: Vec::new() };
        if code != 0 {
            return Some(api);
        }
        let count = library.get::<Number>(b"cuDeviceGetCount\0").ok()?;
        let device = library.get::<GetDevice>(b"cuDeviceGet\0").ok()?;
        let name = library.get::<Text>(b"cuDeviceGetName\0").ok()?;
        let attribute = library.get::<Attribute>(b"cuDeviceGetAttribute\0").ok()?;
        let total = library.get::<Size>(b"cuDeviceTotalMem_v2\0").ok();
        let address = library.get::<Text>(b"cuDeviceGetPCIBusId\0").ok();
        let mut devices = 0;
        if count(&raw mut devices) != 0 {
            return Some(api);
        }
        for index in 0..devices.clamp(0, 64) {
            let mut handle = 0;
            if device(&raw mut handle, index) != 0 {
                continue;
            }
            let text = |ask: &Text| {
                let mut buffer: [c_char; 256] = [0; 256];
                let done = ask(buffer.as_mut_ptr(), 255, handle) == 0;
                done.then(|| CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned())
            };
            let number = |which: c_int| {
                let mut value = 0;
                (attribute(&raw mut value, which, handle) == 0).then_some(value)
            };
            let capability = number(CAPABILITY_MAJOR).zip(number(CAPABILITY_MINOR));
            let mut bytes = 0;
            let sized = total.as_ref().is_some_and(|total| total(&raw mut bytes, handle) == 0);
            api.devices.push(DriverApiDevice {
                name: text(&name).unwrap_or_default(),
                compute_capability: capability.and_then(|(major, minor)| {
                    Some(ComputeCapability::new(major.try_into().ok()?, minor.try_into().ok()?))
                }),
                pci_bus_id: address.as_ref().and_then(|address| text(address)),
                total: sized.then_some(Bytes(bytes as u64)),
            });
        }
        Some(api)
    }
}
