//! Which llama.cpp a build is, from what its files export and are called.

use std::collections::BTreeSet;
use std::path::Path;

use super::classify;
use super::member::{Member, file_name};
use crate::units::BuildTag;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// `b11434`, from the exported build number or a folder's name.
    pub tag: Option<BuildTag>,
    pub commit: Option<String>,
    /// `0.6.0-dev`
    pub llama: Option<String>,
    /// `0.26.0`
    pub ggml: Option<String>,
}

impl Versions {
    /// One text for people: the tag, or the library's version.
    pub fn shown(&self) -> Option<String> {
        self.tag.map(|tag| tag.to_string()).or_else(|| self.llama.clone())
    }
}

pub fn read(home: &Path, members: &[Member]) -> Versions {
    let constant = |name: &str| members.iter().find_map(|member| member.image.constants.get(name).cloned());
    let build_info = members.iter().find_map(|member| member.image.texts.build_info.clone());
    let (info_number, commit) = build_info.as_deref().and_then(|info| info.split_once('-')).unzip();
    // Builds from a bare archive number themselves 0 or 1: that is no tag.
    let number = constant("LLAMA_BUILD_NUMBER").and_then(|number| number.parse().ok()).filter(|number| *number > 1);
    Versions {
        tag: number
            .map(BuildTag::Nightly)
            .or_else(|| info_number.and_then(|tag| tag.parse().ok()))
            .or_else(|| classify::official_tag(&file_name(home))),
        commit: commit.map(str::to_owned),
        llama: constant("llama_version").or_else(|| file_version(members, "libllama.so.")),
        ggml: constant("ggml_version").or_else(|| file_version(members, "libggml-base.so.")),
    }
}

/// `libllama.so.0.6.0` → `0.6.0`
fn file_version(members: &[Member], prefix: &str) -> Option<String> {
    members.iter().find_map(|member| {
        let name = file_name(&member.path);
        let version = name.strip_prefix(prefix)?;
        version.contains('.').then(|| version.to_owned())
    })
}

/// Signs that files of more than one llama.cpp lie together, one sentence each.
pub fn mixed(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for (constant, what) in
        [("ggml_version", "ggml"), ("llama_version", "llama"), ("LLAMA_BUILD_NUMBER", "the build number")]
    {
        // Only what lies in one folder is loaded together.
        let folders: BTreeSet<Option<&Path>> = members.iter().map(|member| member.path.parent()).collect();
        for folder in folders {
            let versions: BTreeSet<&String> = members
                .iter()
                .filter(|member| member.path.parent() == folder)
                .filter_map(|member| member.image.constants.get(constant))
                .collect();
            if versions.len() > 1 {
                let list = versions.into_iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
                problems.push(format!("files of different builds lie together ({what} {list})"));
            }
        }
    }
    problems.extend(other_interfaces(members));
    problems.extend(members.iter().filter_map(|member| unserved(member, members)));
    problems
}

/// Backends that were compiled for different versions of ggml's interface to them: ggml refuses one of them.
fn other_interfaces(members: &[Member]) -> Option<String> {
    let told = |member: &Member| {
        let is_one = |name: &&String| name.starts_with("ggml_backend_") && name.ends_with("_reg");
        let (_, version) = member.image.constants.iter().find(|(name, _)| is_one(name))?;
        Some((member.path.parent()?.to_owned(), version.clone()))
    };
    let versions: BTreeSet<_> = members.iter().filter_map(told).collect();
    let folders: BTreeSet<&Path> = versions.iter().map(|(folder, _)| folder.as_path()).collect();
    folders.into_iter().find_map(|folder| {
        let of_folder: Vec<&str> =
            versions.iter().filter(|(one, _)| one == folder).map(|(_, version)| version.as_str()).collect();
        let list = of_folder.join(" and ");
        (of_folder.len() > 1)
            .then(|| format!("files of different builds lie together: ggml's interface to backends is version {list}"))
    })
}

/// A function that a file wants of the others in its folder and none of them has.
fn unserved(member: &Member, members: &[Member]) -> Option<String> {
    let beside = members.iter().filter(|other| other.path.parent() == member.path.parent());
    let others: Vec<&Member> = beside.filter(|other| other.path != member.path).collect();
    let is_there = |name: &String| {
        others.iter().any(|other| other.image.name.as_ref() == Some(name) || file_name(&other.path) == *name)
    };
    let needed: Vec<&String> =
        member.image.needed.iter().filter(|name| name.contains("ggml") || name.contains("llama")).collect();
    // A library that is elsewhere may have it.
    if needed.is_empty() || !needed.into_iter().all(is_there) {
        return None;
    }
    let is_served = |name: &&String| others.iter().any(|other| other.image.offered.contains(*name));
    let first = member.image.wanted.iter().find(|name| !is_served(name))?;
    Some(format!(
        "files of different builds lie together: {} wants `{first}`, which no file beside it has",
        file_name(&member.path)
    ))
}

/// What `llama-server --version` printed, in its form of now and in the one before August 2026.
pub fn printed(text: &str) -> Option<Versions> {
    let line = text.lines().find_map(|line| line.split_once("version: ")).map(|(_, rest)| rest.trim())?;
    let (first, rest) = line.split_once(' ')?;
    let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
    if let Some((number, commit)) = inside.strip_prefix("build ").and_then(|rest| rest.split_once(", commit ")) {
        return Some(Versions {
            tag: number.parse().ok().filter(|number| *number > 1).map(BuildTag::Nightly),
            commit: Some(commit.to_owned()),
            llama: Some(first.to_owned()),
            ggml: None,
        });
    }
    Some(Versions {
        tag: first.parse().ok().filter(|number| *number > 1).map(BuildTag::Nightly),
        commit: Some(inside.to_owned()),
        llama: None,
        ggml: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, needed: &[&str], wanted: &[&str], offered: &[&str], interface: &str) -> Member {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let image: crate::binary::Image = serde_json::from_value(serde_json::json!({
            "format": "elf", "machine": "x86_64", "needed": needed, "constants": {"ggml_backend_x_reg": interface},
        }))
        .unwrap();
        let image = crate::binary::Image { wanted: texts(wanted), offered: texts(offered), ..image };
        Member { path: Path::new("/b").join(name), image }
    }

    #[test]
    fn files_of_two_builds_are_told_by_what_they_want() {
        let base = member("libggml-base.so", &["libc.so.6"], &[], &["ggml_add"], "3");
        let cuda = member("libggml-cuda.so", &["libggml-base.so"], &["ggml_add", "ggml_new"], &[], "3");
        let told = mixed(&[base.clone(), cuda.clone()]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("libggml-cuda.so wants `ggml_new`"), "{told:?}");
        // Alone it may be served from elsewhere.
        assert_eq!(mixed(&[cuda]), [] as [String; 0]);
        let other = member("libggml-rpc.so", &["libggml-base.so"], &["ggml_add"], &[], "2");
        assert!(mixed(&[base, other])[0].contains("version 2 and 3"));
    }

    #[test]
    fn both_printed_forms_are_understood() {
        let now = printed("version: 0.6.0-dev (build 11434, commit 515e855)\nbuilt with GNU 13.3.0 for Linux x86_64\n");
        let now = now.unwrap();
        assert_eq!((now.tag, now.llama.as_deref()), (Some(BuildTag::Nightly(11434)), Some("0.6.0-dev")));
        assert_eq!(now.commit.as_deref(), Some("515e855"));
        let before = printed("version: 5897 (bdca3837)\n").unwrap();
        assert_eq!((before.tag, before.commit.as_deref()), (Some(BuildTag::Nightly(5897)), Some("bdca3837")));
        assert_eq!(printed("version: 1 (unknown)").unwrap().tag, None);
        assert_eq!(printed("nothing of the kind"), None);
    }
}
