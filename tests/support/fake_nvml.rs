//! A `libnvidia-ml.so.1` for tests, compiled by `tests/nvml.rs` and no part of the crate. `FAKE_NVML` is its mood:
//! `two`, `mig`, `lost`, or `error N`.
#![allow(non_snake_case, clippy::all, clippy::pedantic)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};

type Code = c_uint;
type Device = *mut c_void;
const NOT_FOUND: Code = 6;
const NOT_SUPPORTED: Code = 3;
const LOST: Code = 15;
/// Device handles are these numbers; instances of MIG are 11 and 12.
const SLOW: usize = 1;
const FAST: usize = 2;

fn mood() -> String {
    std::env::var("FAKE_NVML").unwrap_or_default()
}

fn put(text: &str, buffer: *mut c_char, length: c_uint) -> Code {
    let text = CString::new(text).unwrap();
    let bytes = text.as_bytes_with_nul();
    if bytes.len() > length as usize {
        return 7;
    }
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), buffer, bytes.len()) };
    0
}

fn set<T>(place: *mut T, value: T) -> Code {
    unsafe { place.write(value) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Code {
    mood().strip_prefix("error ").map_or(0, |code| code.parse().unwrap())
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Code {
    0
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(_: Code) -> *const c_char {
    static TEXT: &CStr = c"fake";
    TEXT.as_ptr()
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetDriverVersion(buffer: *mut c_char, length: c_uint) -> Code {
    put("580.95.05", buffer, length)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> Code {
    set(version, 13000)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Code {
    set(count, if mood() == "mig" { 1 } else { 2 })
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut Device) -> Code {
    if mood() == "lost" && index == 1 {
        return LOST;
    }
    set(device, (index as usize + 1) as Device)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetName(device: Device, buffer: *mut c_char, length: c_uint) -> Code {
    let name = match device as usize {
        11 | 12 => "NVIDIA Big MIG 3g.20gb",
        SLOW if mood() == "mig" => "NVIDIA Big",
        FAST => "NVIDIA Fast",
        _ => "NVIDIA Slow",
    };
    put(name, buffer, length)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUUID(device: Device, buffer: *mut c_char, length: c_uint) -> Code {
    let kind = if device as usize > 10 { "MIG" } else { "GPU" };
    put(&format!("{kind}-{:08x}-0000-0000-0000-000000000000", device as usize - 1), buffer, length)
}
#[repr(C)]
pub struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Device, memory: *mut Memory) -> Code {
    let total: u64 = match device as usize {
        11 | 12 => 20 << 30,
        FAST => 24 << 30,
        _ => 8 << 30,
    };
    set(memory, Memory { version: 0, total, reserved: 0, free: total - (1 << 30), used: 1 << 30 })
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCudaComputeCapability(device: Device, major: *mut c_int, minor: *mut c_int) -> Code {
    set(major, 8);
    set(minor, if device as usize == FAST { 9 } else { 6 })
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryBusWidth(_: Device, bits: *mut c_uint) -> Code {
    set(bits, 384)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetNumGpuCores(device: Device, cores: *mut c_uint) -> Code {
    set(cores, if device as usize == FAST { 10_000 } else { 2_000 })
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMaxClockInfo(_: Device, kind: c_uint, clock: *mut c_uint) -> Code {
    // 2 is the memory's clock.
    set(clock, if kind == 2 { 9751 } else { 2100 })
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(_: Device, current: *mut c_uint, pending: *mut c_uint) -> Code {
    if mood() != "mig" {
        return NOT_SUPPORTED;
    }
    set(current, 1);
    set(pending, 1)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMaxMigDeviceCount(_: Device, count: *mut c_uint) -> Code {
    set(count, 7)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(_: Device, index: c_uint, device: *mut Device) -> Code {
    if index > 1 {
        return NOT_FOUND;
    }
    set(device, (index as usize + 11) as Device)
}
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetEccMode(_: Device, _: *mut c_uint, _: *mut c_uint) -> Code {
    NOT_SUPPORTED
}
