//! Every environment variable that the program reads, in one place; `--help` and the man page print this list.

/// One variable and what it does here.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    pub name: &'static str,
    pub meaning: &'static str,
}

pub const LLAMA_DOCTOR_HOME: Variable =
    Variable { name: "LLAMA_DOCTOR_HOME", meaning: "folder of installed builds and downloads (also `--home`)" };
pub const LLAMA_DOCTOR_GITHUB_URL: Variable = Variable {
    name: "LLAMA_DOCTOR_GITHUB_URL",
    meaning: "mirror that release files come from instead of GitHub; its redirects may lead to any port of its host",
};
pub const LLAMA_DOCTOR_GITHUB_API_URL: Variable =
    Variable { name: "LLAMA_DOCTOR_GITHUB_API_URL", meaning: "mirror of GitHub's API" };
pub const LLAMA_DOCTOR_ALLOW_HOSTS: Variable = Variable {
    name: "LLAMA_DOCTOR_ALLOW_HOSTS",
    meaning: "more hosts that redirects may lead to, with commas: `name`, `name:port` or `*.name`",
};
pub const LLAMA_DOCTOR_CONTAINER_URL: Variable = Variable {
    name: "LLAMA_DOCTOR_CONTAINER_URL",
    meaning: "mirror of the registry of the project's container images",
};
pub const PIP_INDEX_URL: Variable =
    Variable { name: "PIP_INDEX_URL", meaning: "Python package index that `install --cudart pypi` asks" };
pub const GH_TOKEN: Variable = Variable { name: "GH_TOKEN", meaning: "token for GitHub's API; none is needed" };
pub const GITHUB_TOKEN: Variable = Variable { name: "GITHUB_TOKEN", meaning: "as GH_TOKEN, which comes first" };
pub const HTTPS_PROXY: Variable = Variable { name: "HTTPS_PROXY", meaning: "proxy for https (also in lower case)" };
pub const HTTP_PROXY: Variable = Variable { name: "HTTP_PROXY", meaning: "proxy for http (also in lower case)" };
pub const NO_PROXY: Variable = Variable { name: "NO_PROXY", meaning: "hosts to reach without the proxy" };
pub const SSL_CERT_FILE: Variable =
    Variable { name: "SSL_CERT_FILE", meaning: "PEM bundle of certificates to trust beside the system's" };
pub const CUDA_VISIBLE_DEVICES: Variable =
    Variable { name: "CUDA_VISIBLE_DEVICES", meaning: "the GPUs that CUDA programs may use, and their order" };
pub const CUDA_DEVICE_ORDER: Variable =
    Variable { name: "CUDA_DEVICE_ORDER", meaning: "how CUDA numbers the GPUs: FASTEST_FIRST or PCI_BUS_ID" };
pub const LLAMA_CACHE: Variable =
    Variable { name: "LLAMA_CACHE", meaning: "llama.cpp's model cache, used as the Hugging Face cache folder itself" };
pub const HF_ENDPOINT: Variable =
    Variable { name: "HF_ENDPOINT", meaning: "address of the Hugging Face hub or of a mirror" };
pub const HF_TOKEN: Variable = Variable { name: "HF_TOKEN", meaning: "token for the Hugging Face hub" };
pub const HF_TOKEN_PATH: Variable = Variable { name: "HF_TOKEN_PATH", meaning: "file that holds the hub's token" };
pub const HF_HOME: Variable =
    Variable { name: "HF_HOME", meaning: "folder of the Hugging Face cache and token [~/.cache/huggingface]" };
pub const HF_HUB_CACHE: Variable =
    Variable { name: "HF_HUB_CACHE", meaning: "folder of downloaded models [$HF_HOME/hub]" };
pub const HUGGINGFACE_HUB_CACHE: Variable =
    Variable { name: "HUGGINGFACE_HUB_CACHE", meaning: "older name of HF_HUB_CACHE" };
pub const HF_HUB_OFFLINE: Variable =
    Variable { name: "HF_HUB_OFFLINE", meaning: "1: ask no model hub, use the cache only" };
pub const HF_HUB_DISABLE_SYMLINKS: Variable =
    Variable { name: "HF_HUB_DISABLE_SYMLINKS", meaning: "1: no links in the model cache, as on disks that have none" };
pub const XDG_CACHE_HOME: Variable = Variable { name: "XDG_CACHE_HOME", meaning: "folder of caches [~/.cache]" };
pub const MODELSCOPE_DOMAIN: Variable =
    Variable { name: "MODELSCOPE_DOMAIN", meaning: "host of ModelScope, or its address [www.modelscope.cn]" };
pub const MODELSCOPE_API_TOKEN: Variable = Variable { name: "MODELSCOPE_API_TOKEN", meaning: "token for ModelScope" };
pub const OLLAMA_MODELS: Variable =
    Variable { name: "OLLAMA_MODELS", meaning: "folder of Ollama's models, looked through by `models list`" };
pub const HOME: Variable = Variable { name: "HOME", meaning: "home folder (on Windows USERPROFILE)" };
pub const USERPROFILE: Variable = Variable { name: "USERPROFILE", meaning: "home folder on Windows" };
pub const LOCALAPPDATA: Variable =
    Variable { name: "LOCALAPPDATA", meaning: "application data on Windows: llama.cpp's old cache lies there" };
pub const APPDATA: Variable =
    Variable { name: "APPDATA", meaning: "settings on Windows: llama.cpp's config.ini may lie there" };
pub const PROGRAMDATA: Variable =
    Variable { name: "PROGRAMDATA", meaning: "settings of all users on Windows: llama.cpp's config.ini may lie there" };
pub const PROGRAM_FILES: Variable = Variable {
    name: "ProgramW6432",
    meaning: "folder of programs on Windows: the antivirus and old NVIDIA tools lie there",
};
pub const ONE_DRIVE: Variable =
    Variable { name: "OneDrive", meaning: "the folder that Windows keeps in the cloud: models in it load slowly" };
pub const XDG_CONFIG_HOME: Variable = Variable {
    name: "XDG_CONFIG_HOME",
    meaning: "folder of settings [~/.config]: llama.cpp's config.ini may lie there",
};
pub const LLAMA_ARG: Variable =
    Variable { name: "LLAMA_ARG_*", meaning: "llama-server's own settings: reported where they would change a plan" };
pub const LD_LIBRARY_PATH: Variable =
    Variable { name: "LD_LIBRARY_PATH", meaning: "where Linux's loader looks for libraries (read, never changed)" };
pub const VIRTUAL_ENV: Variable =
    Variable { name: "VIRTUAL_ENV", meaning: "the Python environment in use, searched for llama.cpp and CUDA" };
pub const CONDA_PREFIX: Variable =
    Variable { name: "CONDA_PREFIX", meaning: "the conda environment in use, searched likewise" };
pub const PATH: Variable =
    Variable { name: "PATH", meaning: "where programs, and on Windows libraries, are looked for" };
pub const CUDA_PATH: Variable = Variable {
    name: "CUDA_PATH",
    meaning: "CUDA toolkit on Windows: named where a library lies there and is not found",
};
pub const SYSTEM_ROOT: Variable = Variable { name: "SystemRoot", meaning: "Windows' own folder" };
pub const NO_COLOR: Variable = Variable { name: "NO_COLOR", meaning: "no colours, as `--color never`" };

/// In the order of `--help`.
pub const ALL: &[Variable] = &[
    LLAMA_DOCTOR_HOME,
    LLAMA_CACHE,
    HF_ENDPOINT,
    HF_TOKEN,
    HF_TOKEN_PATH,
    HF_HOME,
    HF_HUB_CACHE,
    HUGGINGFACE_HUB_CACHE,
    HF_HUB_OFFLINE,
    HF_HUB_DISABLE_SYMLINKS,
    MODELSCOPE_DOMAIN,
    MODELSCOPE_API_TOKEN,
    OLLAMA_MODELS,
    XDG_CACHE_HOME,
    HOME,
    USERPROFILE,
    LOCALAPPDATA,
    APPDATA,
    PROGRAMDATA,
    PROGRAM_FILES,
    ONE_DRIVE,
    XDG_CONFIG_HOME,
    LLAMA_ARG,
    LLAMA_DOCTOR_GITHUB_URL,
    LLAMA_DOCTOR_GITHUB_API_URL,
    LLAMA_DOCTOR_ALLOW_HOSTS,
    LLAMA_DOCTOR_CONTAINER_URL,
    PIP_INDEX_URL,
    GH_TOKEN,
    GITHUB_TOKEN,
    HTTPS_PROXY,
    HTTP_PROXY,
    NO_PROXY,
    SSL_CERT_FILE,
    CUDA_VISIBLE_DEVICES,
    CUDA_DEVICE_ORDER,
    LD_LIBRARY_PATH,
    VIRTUAL_ENV,
    CONDA_PREFIX,
    PATH,
    CUDA_PATH,
    SYSTEM_ROOT,
    NO_COLOR,
];

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
