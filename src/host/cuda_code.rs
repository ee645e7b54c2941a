//! The CUDA driver API's return codes in words.

/// Source: cuda.h, `CUresult`; the wording is ours.
pub const fn meaning(code: u32) -> &'static str {
    match code {
        1 => "an argument was not valid",
        2 => "out of memory",
        3 => "the driver was not initialised",
        4 => "the driver is shutting down",
        34 => "the toolkit's stand-in was loaded instead of the driver",
        35 => "the driver is too old",
        46 => "the card is busy or takes no programs",
        100 => "no device is there",
        101 => "the device number is not valid",
        200 => "the GPU code cannot be read",
        201 => "the context is not valid",
        209 => "there is no code for this GPU",
        221 => "the driver's compiler library is missing",
        222 => "the GPU code is newer than the driver",
        223 => "the driver may not compile GPU code",
        304 => "a call of the operating system failed",
        801 => "it is not offered here",
        802 => "the system is not ready: the fabric manager does not run",
        803 => "the driver's libraries do not fit its kernel module",
        804 => "a compatibility library stands before a card that does not allow it",
        999 => "an unknown error in the driver",
        _ => "an error that this program does not know",
    }
}
