//! NVML's return codes, and what each says to a person.

use nvml_wrapper::error::NvmlError;

/// The driver's own return code; absent for errors that arise on our side of the library.
pub(super) fn code_of(error: &NvmlError) -> Option<u32> {
    #[expect(deprecated, reason = "an old driver may still answer with it")]
    let code = match error {
        NvmlError::Uninitialized => 1,
        NvmlError::InvalidArg => 2,
        NvmlError::NotSupported => 3,
        NvmlError::NoPermission => 4,
        NvmlError::AlreadyInitialized => 5,
        NvmlError::NotFound => 6,
        NvmlError::InsufficientSize(_) => 7,
        NvmlError::InsufficientPower => 8,
        NvmlError::DriverNotLoaded => 9,
        NvmlError::Timeout => 10,
        NvmlError::IrqIssue => 11,
        NvmlError::LibraryNotFound => 12,
        NvmlError::FunctionNotFound => 13,
        NvmlError::CorruptedInfoROM => 14,
        NvmlError::GpuLost => 15,
        NvmlError::ResetRequired => 16,
        NvmlError::OperatingSystem => 17,
        NvmlError::LibRmVersionMismatch => 18,
        NvmlError::InUse => 19,
        NvmlError::InsufficientMemory => 20,
        NvmlError::NoData => 21,
        NvmlError::VgpuEccNotSupported => 22,
        NvmlError::UnexpectedVariant(code) => *code,
        NvmlError::Unknown => 999,
        _ => return None,
    };
    Some(code)
}

/// The code in words, with its number, so that it can be searched for.
pub(super) fn in_words(error: &NvmlError) -> String {
    code_of(error).map_or_else(|| error.to_string(), |code| format!("{} (NVML {code})", meaning(code)))
}

/// Source: nvml.h, `nvmlReturn_t`; the wording is ours.
pub const fn meaning(code: u32) -> &'static str {
    match code {
        0 => "success",
        1 => "the library was not initialised",
        2 => "an argument was not valid",
        3 => "this GPU or driver does not offer it",
        4 => "this user may not ask",
        5 => "the library was initialised already",
        6 => "not found",
        7 => "the answer needs more room than was given",
        8 => "the GPU's power cables are not connected",
        9 => "the kernel driver is not loaded",
        10 => "the driver did not answer in time",
        11 => "the kernel has trouble with the GPU's interrupts",
        12 => "a library of the driver is missing",
        13 => "the driver is too old for the question",
        14 => "the GPU's own configuration memory is corrupt",
        15 => "the GPU is lost: it fell off the bus",
        16 => "the GPU must be reset",
        17 => "the operating system or the container's limits block the GPU",
        18 => "the driver's libraries and its kernel module have different versions",
        19 => "the GPU is in use",
        20 => "out of memory",
        21 => "no data",
        22 => "not offered while ECC is on",
        23 => "not enough resources",
        24 => "the frequency is not offered",
        25 => "the driver knows another version of the question",
        26 => "the question is no longer answered",
        27 => "the system is not ready",
        28 => "no GPU was found",
        29 => "the state is not valid",
        999 => "an unknown error in the driver",
        _ => "an error that this program does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wrapper() {
        for code in (1..=30).chain([999]) {
            assert_eq!(code_of(&NvmlError::from(code)), Some(code));
        }
        assert_eq!(
            in_words(&NvmlError::from(18)),
            "the driver's libraries and its kernel module have different versions (NVML 18)"
        );
    }
}
