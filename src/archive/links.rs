//! The links of an archive: made last, proven to stay inside, and mended by name where they point nowhere.

use std::collections::BTreeMap;

use super::{Error, Links, Refusal, Target, Unpacked, UnpackedFile, name};

pub(super) fn place(
    target: &Target,
    mut files: BTreeMap<String, UnpackedFile>,
    links: Links,
) -> Result<Unpacked, Error> {
    for (link, other) in links.hard {
        fs_err::copy(target.folder.join(&other), target.folder.join(&link))?;
        if let Some(file) = files.get(&other).cloned() {
            files.insert(link, file);
        }
    }
    let mut symbolic = links.symbolic;
    let repaired = mend(target, &files, &mut symbolic)?;
    for (link, to) in &symbolic {
        let end = follow(&symbolic, link);
        make(target, link, to, end.as_deref())?;
    }
    #[cfg(unix)]
    prove(target, &symbolic)?;
    #[cfg(windows)]
    {
        // There, links are copies of files, of whose names we know that they stay inside.
        for link in symbolic.keys() {
            if let Some(file) = follow(&symbolic, link).and_then(|end| files.get(&end).cloned()) {
                files.insert(link.clone(), file);
            }
        }
        symbolic.clear();
    }
    Ok(Unpacked { files, links: symbolic, repaired })
}

/// Where a chain of links ends, inside the archive; none for a circle.
fn follow(links: &BTreeMap<String, String>, link: &str) -> Option<String> {
    let mut at = link.to_owned();
    for _ in 0..=links.len() {
        let Some(to) = links.get(&at) else { return Some(at) };
        at = name::link_target(&at, to.as_bytes()).ok()?;
    }
    None
}

/// Build b9165 shipped links whose targets had lost letters. A library's link can only mean the one file that bears its
/// name with more numbers: `libllama.so.0` means `libllama.so.0.6.0`.
fn mend(
    target: &Target,
    files: &BTreeMap<String, UnpackedFile>,
    links: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, Error> {
    let exists = |end: &str| files.contains_key(end) || target.folder.join(end).is_dir();
    let broken: Vec<_> =
        links.keys().filter(|link| !follow(links, link).is_some_and(|end| exists(&end))).cloned().collect();
    let mut repaired = Vec::new();
    for link in broken {
        let to = links.get(&link).cloned().unwrap_or_default();
        let base = link.rsplit('/').next().unwrap_or_default();
        let longer = format!("{link}.");
        let mut candidates =
            files.keys().filter(|file| file.starts_with(&longer) && !file[longer.len()..].contains('/'));
        let (Some(only), None) = (candidates.next(), candidates.next()) else {
            return Err(target.refused(&link, Refusal::LinkNowhere(to)));
        };
        let file_name = only.rsplit('/').next().unwrap_or_default().to_owned();
        repaired
            .push(format!("the link `{base}` pointed to `{to}`, which is not there; it points to `{file_name}` now"));
        links.insert(link, file_name);
    }
    Ok(repaired)
}

#[cfg(unix)]
fn make(target: &Target, link: &str, to: &str, _: Option<&str>) -> Result<(), Error> {
    let path = target.folder.join(link);
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    Ok(fs_err::os::unix::fs::symlink(to, path)?)
}

/// Links need a privilege on Windows: a copy does the same for libraries.
#[cfg(windows)]
fn make(target: &Target, link: &str, to: &str, end: Option<&str>) -> Result<(), Error> {
    let source = end.map(|end| target.folder.join(end)).filter(|source| source.is_file());
    let source = source.ok_or_else(|| target.refused(link, Refusal::LinkNowhere(to.to_owned())))?;
    let path = target.folder.join(link);
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::copy(source, path)?;
    Ok(())
}

/// The names were judged as text; here the system itself says where each link leads.
#[cfg(unix)]
fn prove(target: &Target, links: &BTreeMap<String, String>) -> Result<(), Error> {
    if links.is_empty() {
        return Ok(());
    }
    let root = fs_err::canonicalize(&target.folder)?;
    for (link, to) in links {
        let end = fs_err::canonicalize(target.folder.join(link))
            .map_err(|_| target.refused(link, Refusal::LinkNowhere(to.clone())))?;
        if !end.starts_with(&root) {
            return Err(target.refused(link, Refusal::LinkLeaves(to.clone())));
        }
    }
    Ok(())
}
