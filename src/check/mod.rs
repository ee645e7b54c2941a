//! Questions about a machine, answered from facts alone: one file each, in the order in which a person would ask them.

mod context;
pub mod machine;
mod over_builds;
mod remedy;
mod run;
mod verdict;

// One file each. They are named outside the macro below because rustfmt follows no module that a macro declares.
mod antivirus_left_files;
mod backend_path_unset;
mod backends_loaded_once;
mod blackwell_native;
mod build_files_consistent;
mod build_for_this_processor;
mod build_found;
mod build_has_backends;
mod build_has_cuda;
mod build_libc_fits;
mod cards_alike;
mod cdi_up_to_date;
mod commit_memory_enough;
mod compute_mode_shared;
mod config_file_harmless;
mod container_capabilities;
mod container_has_gpu;
mod container_kept_gpu;
mod container_toolkit_complete;
mod cublas_pair_matches;
mod cuda_backend_works;
mod cuda_runtime_major_fits;
mod cuda_runtime_present;
mod cuda_starts;
mod cuda_survived_suspend;
mod device_nodes_present;
mod device_permissions;
mod disk_space_enough;
mod driver_error_log;
mod driver_flavour_fits_card;
mod driver_library_mismatch;
mod driver_missing;
mod driver_still_knows_card;
mod driver_too_old;
mod fabric_manager_running;
mod files_unblocked;
mod folders_not_synced;
mod glibc_new_enough;
mod gpu_awake;
mod gpu_code_compressed_for_driver;
mod gpu_code_present;
mod gpu_given_to_vm;
mod gpu_lost;
mod gpu_memory_sound;
mod gpu_new_enough;
mod gpu_power_connected;
mod gpu_present;
mod gpu_visible;
mod jit_allowed;
mod jit_cache_usable;
mod jit_compiler_present;
mod libc_is_glibc;
mod libcuda_found;
mod libcuda_is_no_stub;
mod libcuda_is_the_drivers;
mod library_path_clean;
mod long_paths_enabled;
mod memlock_allowed;
mod memory_limit_wide;
mod mig_instance_available;
mod models_are_gguf;
mod models_complete;
mod models_disk_fast;
mod models_disk_holds_large_files;
mod models_have_all_shards;
mod models_known_to_build;
mod models_version_readable;
mod models_well_formed;
mod module_not_built;
mod module_not_loaded;
mod nccl_present;
mod no_offload_variable;
mod no_other_server;
mod no_peer_copies;
mod no_removed_variable;
mod no_slowing_variable;
mod no_stale_downloads;
mod no_virtual_devices;
mod not_throttled_by_heat;
mod not_throttled_by_power;
mod nouveau_bound;
mod nvml_answers;
mod on_mains_power;
mod one_driver_installed;
mod openmp_present;
mod other_libraries_present;
mod pcie_lanes_full;
mod port_free;
mod power_limit_usual;
mod power_plan_fast;
mod processor_has_avx2;
mod processor_supported;
mod program_loader_usual;
mod projectors_fit_models;
mod ptx_known_to_driver;
mod ram_available;
mod secure_boot_blocks_module;
mod server_libraries_present;
mod smart_app_control_off;
mod store_executable;
mod store_writable;
mod sysmem_fallback;
mod threads_fit_processor;
mod unified_memory_off;
mod uvm_loaded;
mod vc_runtime_current;
mod vc_runtime_not_shadowed;
mod vgpu_licensed;
mod vram_available;
mod wheel_has_cuda;
mod wsl_gpu_passed;
mod wsl_libraries_on_path;
mod wsl_linux_driver;
mod wsl_version;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use context::{Context, Family};
pub use run::{Selection, UnknownCheck, run};
pub use verdict::{Verdict, VerdictStatus, problems, verdict};

/// The check whose warning means that nothing about a GPU can be asked. It is moot itself where WSL shows none.
pub const NO_GPU: &str = "gpu-present";

/// One question about the machine, answered from facts alone.
pub trait Check: Sync {
    /// Stable and kebab-case, equal to the file's name: in `--only`, in JSON, in the docs.
    fn id(&self) -> &'static str;
    /// The good state, as a sentence.
    fn title(&self) -> &'static str;
    /// What, why, how it is detected, how to fix it: `explain ID`.
    fn explanation(&self) -> &'static str;
    fn group(&self) -> Group;
    /// What must be in order before the question makes sense.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }
    /// Whether a failure explains everything that is wrong further up: nothing that needs the driver is asked then.
    fn breaks_driver(&self) -> bool {
        false
    }
    /// As [`Check::breaks_driver`], of the build.
    fn breaks_build(&self) -> bool {
        false
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding>;

    fn pass(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Pass, summary)
    }
    /// The question does not apply, or could not be answered; the summary says why.
    fn skip(&self, why: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Skip, why)
    }
    fn warn(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Warn, sentence(summary))
    }
    fn fail(&self, summary: impl Into<String>) -> Finding
    where
        Self: Sized,
    {
        Finding::new(self.id(), Status::Fail, sentence(summary))
    }
}

/// What must be in order before a question makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// An NVIDIA card was seen.
    Card,
    /// The driver works, as far as the checks before this one know.
    Driver,
}

/// What a check is about; in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Hardware,
    Driver,
    Containers,
    Environment,
    System,
    Builds,
    Memory,
    Storage,
    Models,
    Performance,
}

impl Group {
    pub const ALL: &[Self] = &[
        Self::Hardware,
        Self::Driver,
        Self::Containers,
        Self::Environment,
        Self::System,
        Self::Builds,
        Self::Memory,
        Self::Storage,
        Self::Models,
        Self::Performance,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Driver => "driver",
            Self::Containers => "containers",
            Self::Environment => "environment",
            Self::System => "system",
            Self::Builds => "builds",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Models => "models",
            Self::Performance => "performance",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Pass,
    /// The question is moot, or could not be answered; the summary says why.
    Skip,
    Warn,
    Fail,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    pub what: String,
    pub r#where: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    pub title: String,
    /// Ready to paste; empty when no command does it.
    pub command: String,
    /// Whether `check --fix` can do it.
    pub automatic: bool,
}

impl Remedy {
    pub fn command(title: impl Into<String>, command: impl Into<String>) -> Self {
        Self { title: title.into(), command: command.into(), automatic: false }
    }

    /// What a person does: no command can.
    pub fn advice(title: impl Into<String>) -> Self {
        Self::command(title, "")
    }

    /// What `check --fix` does by itself.
    pub fn automatic(title: impl Into<String>) -> Self {
        Self { automatic: true, ..Self::command(title, "llama-doctor check --fix") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub id: String,
    pub status: Status,
    pub summary: String,
    pub evidence: Vec<Evidence>,
    pub remedies: Vec<Remedy>,
}

impl Finding {
    pub fn new(id: &str, status: Status, summary: impl Into<String>) -> Self {
        Self { id: id.to_owned(), status, summary: summary.into(), evidence: Vec::new(), remedies: Vec::new() }
    }

    /// Adds what was seen, and where.
    #[must_use]
    pub fn seen(mut self, what: impl Into<String>, r#where: impl Into<String>) -> Self {
        self.evidence.push(Evidence { what: what.into(), r#where: r#where.into() });
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    #[must_use]
    pub fn remedies(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        self.remedies.extend(remedies);
        self
    }
}

/// A problem is a sentence: `the build in …` has no name to begin with.
fn sentence(summary: impl Into<String>) -> String {
    let summary = summary.into();
    summary.strip_prefix("the ").map(|rest| format!("The {rest}")).unwrap_or(summary)
}

/// `1 file`, `3 files`
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

macro_rules! checks {
    ($($file:ident :: $name:ident),* $(,)?) => {
        /// Every check, in the order in which a person would ask.
        pub const ALL: &[&dyn Check] = &[$(&$file::$name),*];
        /// The files of the checks, for the test that each is named as its check.
        #[cfg(test)]
        const FILES: &[&str] = &[$(stringify!($file)),*];
    };
}

checks![
    wsl_version::WslVersion,
    wsl_gpu_passed::WslGpuPassed,
    gpu_present::GpuPresent,
    gpu_given_to_vm::GpuGivenToVm,
    wsl_linux_driver::WslLinuxDriver,
    wsl_libraries_on_path::WslLibrariesOnPath,
    container_has_gpu::ContainerHasGpu,
    container_capabilities::ContainerCapabilities,
    nouveau_bound::NouveauBound,
    driver_missing::DriverMissing,
    module_not_built::ModuleNotBuilt,
    secure_boot_blocks_module::SecureBootBlocksModule,
    driver_flavour_fits_card::DriverFlavourFitsCard,
    driver_still_knows_card::DriverStillKnowsCard,
    module_not_loaded::ModuleNotLoaded,
    driver_library_mismatch::DriverLibraryMismatch,
    device_nodes_present::DeviceNodesPresent,
    device_permissions::DevicePermissions,
    uvm_loaded::UvmLoaded,
    gpu_lost::GpuLost,
    gpu_power_connected::GpuPowerConnected,
    container_kept_gpu::ContainerKeptGpu,
    nvml_answers::NvmlAnswers,
    driver_error_log::DriverErrorLog,
    libcuda_found::LibcudaFound,
    libcuda_is_no_stub::LibcudaIsNoStub,
    libcuda_is_the_drivers::LibcudaIsTheDrivers,
    one_driver_installed::OneDriverInstalled,
    fabric_manager_running::FabricManagerRunning,
    cuda_survived_suspend::CudaSurvivedSuspend,
    gpu_visible::GpuVisible,
    compute_mode_shared::ComputeModeShared,
    mig_instance_available::MigInstanceAvailable,
    cuda_starts::CudaStarts,
    gpu_new_enough::GpuNewEnough,
    driver_too_old::DriverTooOld,
    gpu_awake::GpuAwake,
    gpu_memory_sound::GpuMemorySound,
    container_toolkit_complete::ContainerToolkitComplete,
    cdi_up_to_date::CdiUpToDate,
    library_path_clean::LibraryPathClean,
    jit_allowed::JitAllowed,
    unified_memory_off::UnifiedMemoryOff,
    no_offload_variable::NoOffloadVariable,
    no_removed_variable::NoRemovedVariable,
    config_file_harmless::ConfigFileHarmless,
    no_slowing_variable::NoSlowingVariable,
    no_virtual_devices::NoVirtualDevices,
    no_peer_copies::NoPeerCopies,
    backend_path_unset::BackendPathUnset,
    memlock_allowed::MemlockAllowed,
    processor_supported::ProcessorSupported,
    libc_is_glibc::LibcIsGlibc,
    glibc_new_enough::GlibcNewEnough,
    program_loader_usual::ProgramLoaderUsual,
    processor_has_avx2::ProcessorHasAvx2,
    vc_runtime_current::VcRuntimeCurrent,
    smart_app_control_off::SmartAppControlOff,
    long_paths_enabled::LongPathsEnabled,
    port_free::PortFree,
    build_found::BuildFound,
    build_has_backends::BuildHasBackends,
    antivirus_left_files::AntivirusLeftFiles,
    build_for_this_processor::BuildForThisProcessor,
    wheel_has_cuda::WheelHasCuda,
    build_has_cuda::BuildHasCuda,
    build_libc_fits::BuildLibcFits,
    cuda_runtime_major_fits::CudaRuntimeMajorFits,
    cuda_runtime_present::CudaRuntimePresent,
    cublas_pair_matches::CublasPairMatches,
    openmp_present::OpenmpPresent,
    nccl_present::NcclPresent,
    other_libraries_present::OtherLibrariesPresent,
    server_libraries_present::ServerLibrariesPresent,
    gpu_code_compressed_for_driver::GpuCodeCompressedForDriver,
    gpu_code_present::GpuCodePresent,
    ptx_known_to_driver::PtxKnownToDriver,
    jit_compiler_present::JitCompilerPresent,
    blackwell_native::BlackwellNative,
    build_files_consistent::BuildFilesConsistent,
    vc_runtime_not_shadowed::VcRuntimeNotShadowed,
    backends_loaded_once::BackendsLoadedOnce,
    cuda_backend_works::CudaBackendWorks,
    files_unblocked::FilesUnblocked,
    commit_memory_enough::CommitMemoryEnough,
    sysmem_fallback::SysmemFallback,
    vram_available::VramAvailable,
    no_other_server::NoOtherServer,
    ram_available::RamAvailable,
    memory_limit_wide::MemoryLimitWide,
    store_writable::StoreWritable,
    store_executable::StoreExecutable,
    disk_space_enough::DiskSpaceEnough,
    models_disk_holds_large_files::ModelsDiskHoldsLargeFiles,
    models_disk_fast::ModelsDiskFast,
    folders_not_synced::FoldersNotSynced,
    jit_cache_usable::JitCacheUsable,
    no_stale_downloads::NoStaleDownloads,
    models_are_gguf::ModelsAreGguf,
    models_complete::ModelsComplete,
    models_version_readable::ModelsVersionReadable,
    models_have_all_shards::ModelsHaveAllShards,
    models_well_formed::ModelsWellFormed,
    models_known_to_build::ModelsKnownToBuild,
    projectors_fit_models::ProjectorsFitModels,
    not_throttled_by_heat::NotThrottledByHeat,
    not_throttled_by_power::NotThrottledByPower,
    power_limit_usual::PowerLimitUsual,
    pcie_lanes_full::PcieLanesFull,
    on_mains_power::OnMainsPower,
    power_plan_fast::PowerPlanFast,
    threads_fit_processor::ThreadsFitProcessor,
    cards_alike::CardsAlike,
    vgpu_licensed::VgpuLicensed,
];

/// The check of that id.
pub fn find(id: &str) -> Option<&'static dyn Check> {
    ALL.iter().copied().find(|check| check.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_kebab_case_and_equal_to_their_files() {
        for (check, file) in ALL.iter().zip(FILES) {
            assert_eq!(check.id(), file.replace('_', "-"));
            assert_eq!(ALL.iter().filter(|other| other.id() == check.id()).count(), 1, "{}", check.id());
        }
    }

    #[test]
    fn every_check_explains_itself() {
        for check in ALL {
            assert!(!check.title().is_empty() && !check.title().ends_with('.'), "{}", check.id());
            assert!(check.explanation().len() > 120, "{} explains too little", check.id());
            assert!(check.explanation().ends_with('.'), "{}", check.id());
        }
    }
}
