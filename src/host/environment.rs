//! Every environment variable that the program reads, in one place; `--help` and the man page print this list.

/// One variable and what it does here.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    pub name: &'static str,
    pub meaning: &'static str,
}

pub const LLAMA_DOCTOR_HOME: Variable =
    Variable { name: "LLAMA_DOCTOR_HOME", meaning: "folder of installed builds and downloads (also `--home`)" };
pub const CUDA_VISIBLE_DEVICES: Variable =
    Variable { name: "CUDA_VISIBLE_DEVICES", meaning: "the GPUs that CUDA programs may use, and their order" };
pub const CUDA_DEVICE_ORDER: Variable =
    Variable { name: "CUDA_DEVICE_ORDER", meaning: "how CUDA numbers the GPUs: FASTEST_FIRST or PCI_BUS_ID" };
pub const NO_COLOR: Variable = Variable { name: "NO_COLOR", meaning: "no colours, as `--color never`" };

/// In the order of `--help`.
pub const ALL: &[Variable] = &[LLAMA_DOCTOR_HOME, CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER, NO_COLOR];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_explained() {
        let mut names: Vec<_> = ALL.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|variable| !variable.meaning.is_empty()));
    }
}
