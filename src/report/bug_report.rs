//! The diagnosis as a file to attach to a bug report: Markdown, or one HTML page without scripts and links.

use std::fmt::Write as _;

use super::check::text;
use super::printer::Verbosity;
use crate::check::machine::Diagnosis;
use crate::check::{Finding, Status};

/// `diagnosis` has been redacted already.
pub fn markdown(diagnosis: &Diagnosis) -> String {
    let mut out = format!(
        "# llama-doctor {}\n\n**{}**: {}\n\n```text\n{}```\n",
        env!("CARGO_PKG_VERSION"),
        diagnosis.verdict.status.word(),
        diagnosis.verdict.summary,
        text(diagnosis, Verbosity::Verbose)
    );
    for build in &diagnosis.builds {
        let _ = writeln!(out, "\n## Build `{}`\n", build.path.display());
        let _ = writeln!(out, "| backend | state | reason |\n|---|---|---|");
        for backend in &build.backends {
            let state = serde_json::to_string(&backend.state).unwrap_or_default();
            let reason = backend.reason.replace('|', "\\|");
            let _ = writeln!(out, "| {} | {} | {reason} |", backend.name, state.trim_matches('"'));
        }
    }
    let json = serde_json::to_string_pretty(diagnosis).unwrap_or_default();
    let _ = write!(out, "\n<details><summary>Everything, as JSON</summary>\n\n```json\n{json}\n```\n\n</details>\n");
    out
}

/// `diagnosis` has been redacted already.
pub fn html(diagnosis: &Diagnosis) -> String {
    let mut rows = String::new();
    let of = |status: Status| diagnosis.findings.iter().filter(move |finding| finding.status == status);
    for finding in of(Status::Fail).chain(of(Status::Warn)).chain(of(Status::Pass)).chain(of(Status::Skip)) {
        rows.push_str(&row(finding));
    }
    let json = serde_json::to_string_pretty(diagnosis).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>llama-doctor: {word}</title>\n\
         <style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         td{{vertical-align:top;padding:.3rem .6rem;border-top:1px solid #8884}}pre{{overflow:auto}}\
         .fail b{{color:#b00020}}.warn b{{color:#a05a00}}.skip{{opacity:.6}}</style>\n\
         <h1>{word}</h1>\n<p>{summary}</p>\n<table>\n{rows}</table>\n\
         <details><summary>Everything, as JSON</summary><pre>{json}</pre></details>\n</html>\n",
        word = escaped(diagnosis.verdict.status.word()),
        summary = escaped(&diagnosis.verdict.summary),
        json = escaped(&json),
    )
}

fn row(finding: &Finding) -> String {
    let mut detail = escaped(&finding.summary);
    for evidence in &finding.evidence {
        let _ = write!(detail, "<br><small>{} {}</small>", escaped(&evidence.what), escaped(&evidence.r#where));
    }
    for remedy in &finding.remedies {
        let _ = write!(detail, "<br>{} <code>{}</code>", escaped(&remedy.title), escaped(&remedy.command));
    }
    let word = finding.status.word();
    format!("<tr class=\"{word}\"><td><b>{word}</b><td>{}<td>{detail}\n", escaped(&finding.id))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Selection;
    use crate::host::facts::Facts;

    #[test]
    fn both_forms_hold_the_findings_and_html_holds_no_markup_of_others() {
        let mut facts = Facts::default();
        facts.variables.insert("GGML_BACKEND_PATH".to_owned(), "<script>alert(1)</script>".to_owned());
        let diagnosis = Diagnosis::of(&facts, &Selection::default());
        let (markdown, html) = (markdown(&diagnosis), html(&diagnosis));
        assert!(markdown.contains("backend-path-unset") && html.contains("backend-path-unset"));
        assert!(!html.contains("<script"));
    }
}
