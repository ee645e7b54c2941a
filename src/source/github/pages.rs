//! GitHub's own pages, for when the API refuses: the fragment that lists a release's files, and the feed of releases.

use crate::net::digest::Sha256Digest;

/// Names and digests of a release's files, from the fragment that the release page loads. A digest stands after its name.
pub(super) fn assets(page: &str) -> Vec<(String, Option<Sha256Digest>)> {
    let mut files: Vec<(String, Option<Sha256Digest>)> = Vec::new();
    let mut rest = page;
    while let Some((at, what)) = next(rest) {
        rest = &rest[at..];
        match what {
            What::Download => {
                let path = &rest[..rest.find(['"', '\'']).unwrap_or(rest.len())];
                let name = path.rsplit('/').next().unwrap_or_default();
                let is_name = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
                if !name.is_empty() && name.chars().all(is_name) && files.iter().all(|(known, _)| known != name) {
                    files.push((name.to_owned(), None));
                }
            }
            What::Digest => {
                let digest = rest.get(..64).and_then(|hex| hex.parse().ok());
                if let Some((_, known @ None)) = files.last_mut() {
                    *known = digest;
                }
            }
        }
    }
    files
}

enum What {
    Download,
    Digest,
}

/// Where the next thing of interest begins, after its mark.
fn next(text: &str) -> Option<(usize, What)> {
    const DOWNLOAD: &str = "/releases/download/";
    const DIGEST: &str = "sha256:";
    match (text.find(DOWNLOAD), text.find(DIGEST)) {
        (Some(download), Some(digest)) if digest < download => Some((digest + DIGEST.len(), What::Digest)),
        (Some(download), _) => Some((download + DOWNLOAD.len(), What::Download)),
        (None, Some(digest)) => Some((digest + DIGEST.len(), What::Digest)),
        (None, None) => None,
    }
}

/// The tags that the feed links to, in its order.
pub(super) fn feed_tags(feed: &str) -> Vec<String> {
    let links = feed.split("/releases/tag/").skip(1);
    links
        .map(|rest| rest[..rest.find(['"', '\'', '<', '/']).unwrap_or(0)].to_owned())
        .filter(|tag| !tag.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lists_names_with_their_digests() {
        let digest = Sha256Digest::of(b"x");
        let page = format!(
            "<a href=\"/ggml-org/llama.cpp/releases/download/b1/a.tar.gz\">a</a> sha256:{digest} <clipboard value=\"sha256:{digest}\">\
             <a href='/ggml-org/llama.cpp/releases/download/b1/b.zip'>b</a> <a href=\"/releases/download/b1/../c%2F\">"
        );
        assert_eq!(assets(&page), [("a.tar.gz".to_owned(), Some(digest)), ("b.zip".to_owned(), None)]);
        assert!(assets("nothing here: sha256:").is_empty());
    }

    #[test]
    fn a_feed_links_to_tags() {
        let feed =
            "<link href=\"https://github.com/ggml-org/llama.cpp/releases/tag/b11434\"/><id>/releases/tag/v0.6.0</id>";
        assert_eq!(feed_tags(feed), ["b11434", "v0.6.0"]);
    }
}
