//! What the environment says of the hub: its address, the token, and whether it may be asked at all.

use url::Url;

use super::HubError;
use crate::host::{Host, environment};
use crate::source::hub_cache::{expand_home, is_true};

const PUBLIC_ENDPOINT: &str = "https://huggingface.co/";

/// `HF_ENDPOINT`, or the public hub. Ends in a slash.
pub fn endpoint(host: &Host) -> Result<Url, HubError> {
    let Some(text) = host.text_variable(environment::HF_ENDPOINT.name) else {
        return Url::parse(PUBLIC_ENDPOINT).map_err(|_| HubError::BadEndpoint(PUBLIC_ENDPOINT.to_owned()));
    };
    let url = Url::parse(&format!("{}/", text.trim_end_matches('/'))).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .ok_or(HubError::BadEndpoint(text))
}

/// `HF_HUB_OFFLINE` as the Python hub reads it.
pub fn is_offline(host: &Host) -> bool {
    host.text_variable(environment::HF_HUB_OFFLINE.name).is_some_and(|text| is_true(&text))
}

/// `HF_TOKEN`, else the file that `hf auth login` writes.
pub fn token(host: &Host) -> Option<String> {
    let clean = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Some(token) = host.text_variable(environment::HF_TOKEN.name).and_then(clean) {
        return Some(token);
    }
    let folder = |name: &str| host.variable(name).map(|path| expand_home(host, path.into()));
    let home = folder(environment::HF_HOME.name)
        .or_else(|| Some(folder(environment::XDG_CACHE_HOME.name)?.join("huggingface")))
        .or_else(|| Some(host.home()?.join(".cache").join("huggingface")));
    let path = folder(environment::HF_TOKEN_PATH.name).or_else(|| Some(home?.join("token")))?;
    host.read_to_string(path).ok().and_then(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn host(variables: &[(&str, &str)], root: &std::path::Path) -> Host {
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Host::Recorded { root: root.to_owned(), environment, outputs: BTreeMap::new() }
    }

    #[test]
    fn the_token_is_looked_for_as_the_python_hub_does() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("home/u/.cache/huggingface")).unwrap();
        fs_err::write(root.path().join("home/u/.cache/huggingface/token"), "hf_login\n").unwrap();
        fs_err::write(root.path().join("mine"), "hf_file").unwrap();
        let home = (if cfg!(windows) { "USERPROFILE" } else { "HOME" }, "/home/u");
        assert_eq!(token(&host(&[home], root.path())).as_deref(), Some("hf_login"));
        assert_eq!(token(&host(&[home, ("HF_TOKEN_PATH", "/mine")], root.path())).as_deref(), Some("hf_file"));
        assert_eq!(token(&host(&[home, ("HF_TOKEN", " hf_x ")], root.path())).as_deref(), Some("hf_x"));
        assert_eq!(token(&host(&[home, ("HF_HOME", "/none")], root.path())), None);
    }

    #[test]
    fn the_endpoint_is_a_web_address() {
        let root = std::path::Path::new("/");
        let of = |text| endpoint(&host(&[("HF_ENDPOINT", text)], root)).map(String::from);
        assert_eq!(of("https://mirror.example/hf").unwrap(), "https://mirror.example/hf/");
        assert!(matches!(of("mirror.example"), Err(HubError::BadEndpoint(_))));
        assert!(matches!(of("ftp://mirror.example"), Err(HubError::BadEndpoint(_))));
    }
}
