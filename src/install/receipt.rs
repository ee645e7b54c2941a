//! What was installed, from where, and every file of it: written beside the files, read when they are in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InstallError;
use crate::build::at_hand::KnownCuda;
use crate::net::digest::Sha256Digest;

pub const FILE_NAME: &str = "llama-doctor.json";
pub const SCHEMA: &str = "llama-doctor/receipt/1";

/// An archive that a build was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ingredient {
    pub name: String,
    /// None for a file from the disk.
    pub url: Option<String>,
    pub size: u64,
    pub sha256: Sha256Digest,
    /// Whether the digest was compared with the one that the source publishes.
    pub checked: bool,
    /// Who attests to it, where that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstalledFile {
    pub size: u64,
    pub sha256: Sha256Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    pub schema: String,
    /// `b11434-cuda-12.8`
    pub id: String,
    pub tag: String,
    /// `cuda-12.8`, `vulkan`, `cpu`
    pub backend: String,
    /// RFC 3339, UTC.
    pub installed: String,
    pub ingredients: Vec<Ingredient>,
    /// By name within the folder, with `/` on every system.
    pub files: BTreeMap<String, InstalledFile>,
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Links that were mended, one sentence each.
    #[serde(default)]
    pub repaired: Vec<String>,
    /// What the proof read of its CUDA backend; absent in receipts of earlier versions, and without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<KnownCuda>,
}

impl Receipt {
    pub fn read(folder: &Path) -> Result<Self, InstallError> {
        let path = folder.join(FILE_NAME);
        let text = fs_err::read_to_string(&path)?;
        let receipt: Self = serde_json::from_str(&text)
            .map_err(|error| InstallError::Receipt { path: path.clone(), why: error.to_string() })?;
        if receipt.schema != SCHEMA {
            return Err(InstallError::Receipt { path, why: format!("its schema is `{}`", receipt.schema) });
        }
        Ok(receipt)
    }

    pub fn write(&self, folder: &Path) -> Result<(), InstallError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        Ok(crate::host::replace::write(&folder.join(FILE_NAME), (text + "\n").as_bytes())?)
    }

    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }

    /// What differs from the folder as it is now. `hash` also reads every byte; without it, names, sizes and links count.
    pub fn differences(&self, folder: &Path, hash: bool) -> Result<Vec<String>, InstallError> {
        let mut differences = Vec::new();
        for (name, expected) in &self.files {
            let path = folder.join(name);
            match fs_err::symlink_metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    differences.push(format!("`{name}` is missing"));
                }
                Err(error) => return Err(error.into()),
                Ok(metadata) if !metadata.is_file() => differences.push(format!("`{name}` is no file any more")),
                Ok(metadata) if metadata.len() != expected.size => {
                    differences.push(format!("`{name}` has {} bytes instead of {}", metadata.len(), expected.size));
                }
                Ok(_) if hash && Sha256Digest::of_file(&path)? != expected.sha256 => {
                    differences.push(format!("`{name}` has another content"));
                }
                Ok(_) => {}
            }
        }
        for (name, to) in &self.links {
            let is_same = fs_err::read_link(folder.join(name)).is_ok_and(|now| now == Path::new(to));
            if !is_same {
                differences.push(format!("the link `{name}` does not lead to `{to}` any more"));
            }
        }
        let known: BTreeSet<&str> = self.files.keys().chain(self.links.keys()).map(String::as_str).collect();
        let mut found = Vec::new();
        names(folder, "", &mut found)?;
        let extra = found.iter().filter(|name| *name != FILE_NAME && !known.contains(name.as_str()));
        differences.extend(extra.map(|name| format!("`{name}` was not part of it")));
        Ok(differences)
    }
}

fn names(folder: &Path, prefix: &str, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            names(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}
