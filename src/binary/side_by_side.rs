//! Side-by-side manifests of Windows: the assemblies that a file asks for.
//!
//! Source: <https://learn.microsoft.com/windows/win32/sbscs/application-manifests>, checked 2026-11-24.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More than any real manifest asks for.
const MOST_ASSEMBLIES: usize = 64;

/// A versioned set of libraries, kept in `WinSxS` or beside the program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assembly {
    /// `Microsoft.VC90.CRT`
    pub name: String,
    #[serde(default)]
    pub version: Option<String>,
    /// `amd64`, `x86`, or `*` for the program's own.
    #[serde(default)]
    pub architecture: Option<String>,
    #[serde(default)]
    pub public_key_token: Option<String>,
}

/// The assemblies that a manifest depends on. What cannot be read as a tag is passed over, as nothing is asked there.
pub fn dependent_assemblies(manifest: &[u8]) -> Vec<Assembly> {
    let text = String::from_utf8_lossy(manifest);
    let (mut found, mut is_inside) = (Vec::new(), false);
    for tag in tags(&text) {
        let (name, attributes) = tag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((tag, ""));
        let is_end = name.starts_with('/');
        // `asmv1:assemblyIdentity` is in the same namespace by another name.
        let name = name.trim_matches('/').rsplit(':').next().unwrap_or_default();
        match name {
            "dependentAssembly" => is_inside = !is_end,
            "assemblyIdentity" if is_inside && found.len() < MOST_ASSEMBLIES => {
                let attribute = |name: &str| attribute(attributes, name).filter(|value| !value.is_empty());
                if let Some(name) = attribute("name") {
                    found.push(Assembly {
                        name,
                        version: attribute("version"),
                        architecture: attribute("processorArchitecture"),
                        public_key_token: attribute("publicKeyToken"),
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// The insides of `<…>`, comments left out.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('<')? + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = &comment[comment.find("-->")?..];
                continue;
            }
            let end = rest.find('>')?;
            let tag = &rest[..end];
            rest = &rest[end..];
            return Some(tag.trim());
        }
    })
}

/// `name="value"` or `name='value'`
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (before, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after[1..].split_once(quote)?;
        if before.trim() == name {
            return Some(value.to_owned());
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assemblies_are_read() {
        let manifest =
            br#"<?xml version="1.0"?><assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <assemblyIdentity name="the.file.itself" version="1.0.0.0"/>
  <!-- <dependentAssembly><assemblyIdentity name="in.a.comment"/></dependentAssembly> -->
  <dependency><dependentAssembly>
    <asmv1:assemblyIdentity type='win32' name='Microsoft.VC90.CRT' version='9.0.21022.8'
      processorArchitecture="amd64" publicKeyToken="1fc8b3b9a1e18e3b"></asmv1:assemblyIdentity>
  </dependentAssembly></dependency></assembly>"#;
        let found = dependent_assemblies(manifest);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].version.as_deref()), ("Microsoft.VC90.CRT", Some("9.0.21022.8")));
        assert_eq!(found[0].public_key_token.as_deref(), Some("1fc8b3b9a1e18e3b"));
    }

    #[test]
    fn what_is_no_manifest_asks_for_nothing() {
        for text in
            ["", "<", "<!--", "<dependentAssembly", "<dependentAssembly><assemblyIdentity name=\"x", "\u{feff}é<é>"]
        {
            assert_eq!(dependent_assemblies(text.as_bytes()), [], "{text}");
        }
    }
}
