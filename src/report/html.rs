//! `bench`'s report as one HTML file: no script, no network, plots as SVG.

use std::fmt::Write as _;

use super::bench::{BenchReport, BenchRun, words};
use super::launch::promise_table;
use crate::fit::plan::MemoryParts;
use crate::units::MIB;
use crate::units::grouped;

/// Light and dark by the reader's own setting; the plots take their colours from here.
const STYLE: &str = "
:root { --ink: #1d2530; --paper: #fdfdfb; --faint: #c9ced6; --model: #4a6fa5; --cache: #d98e32; --compute: #6b9e5a;
  --other: #9a86b5; --bad: #b3372f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --paper: #14181e; --faint: #3b4450; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 58rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: .88rem; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--faint); }
th { white-space: normal; }
th:nth-child(-n+2), td:nth-child(-n+2), th:last-child, td:last-child { text-align: left; }
pre { overflow-x: auto; font-size: .85rem; } svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
.broken { color: var(--bad); font-weight: 600; } figcaption { font-size: .88rem; } figure { margin: 1rem 0; }
@media (max-width: 40rem) { pre { font-size: .68rem; } svg text { font-size: 16px; } }
";

/// Colours that tell runs apart in the line plots.
const LINES: [&str; 6] = ["#4a6fa5", "#d98e32", "#6b9e5a", "#b3372f", "#9a86b5", "#2b8c8c"];

pub fn page(report: &BenchReport) -> String {
    let mut body = String::new();
    let verdict = if report.kept() { "Every promise was kept" } else { "A promise was broken" };
    let _ = write!(body, "<h1>llama-doctor bench</h1><p><strong>{verdict}.</strong> {}</p>", escape(&report.reason));
    body.push_str(&table(report));
    for one in &report.not_measured {
        let _ = write!(body, "<p>{}.</p>", escape(&words::not_measured(one)));
    }
    body.push_str("<h2>Memory</h2>");
    body.push_str(&memory_plot(&report.runs));
    body.push_str("<h2>Memory against context</h2>");
    body.push_str(&context_plot(&report.runs));
    body.push_str("<h2>Speed against fill</h2>");
    body.push_str(&speed_plot(&report.runs));
    for run in &report.runs {
        let _ = write!(body, "<h2>{} {}</h2>", escape(&run.config), escape(&run.title));
        let _ = write!(body, "<pre>{}</pre>", escape(&promise_table(&run.promises)));
        if let Some(quality) = &run.measured.quality {
            let _ = write!(body, "<p>{}.</p>", escape(&words::quality_line(quality)));
        }
        for skipped in &run.measured.skipped {
            let _ = write!(body, "<p>Not measured: {}.</p>", escape(skipped));
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>llama-doctor bench</title><style>{STYLE}</style></head><body>{body}<p><small>llama-doctor {}</small></p></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn table(report: &BenchReport) -> String {
    let mut text = String::from(
        "<table><tr><th>Config</th><th>Model</th><th>Context</th><th>Cache</th><th>Cache size</th><th>Total</th>\
         <th>Tokens/s</th><th>1K tokens</th><th>Same as f16</th><th>Promise</th></tr>",
    );
    for run in &report.runs {
        let seconds = run.thousand_seconds().map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"));
        let same = run.measured.quality.as_ref();
        let same = same.map_or_else(|| "–".to_owned(), |quality| format!("{:.1} %", quality.agreement * 100.0));
        let speed = run.measured.tokens_per_second;
        let speed = if speed > 0.0 { format!("{speed:.1}") } else { "–".to_owned() };
        let class = if run.kept { "" } else { " class=\"broken\"" };
        let _ = write!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1} MiB</td><td>{}</td><td>{speed}</td><td>{seconds}</td>\
             <td>{same}</td><td{class}>{}</td></tr>",
            escape(&run.config),
            escape(&run.name),
            grouped(u64::from(run.server.context)),
            run.cache_name(),
            run.cache_bytes().mib(),
            run.total(),
            escape(&run.verdict)
        );
    }
    text.push_str("</table>");
    text
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;

/// MiB of each part, its colour and its name.
fn parts(run: &BenchRun) -> [(f64, &'static str, &'static str); 4] {
    let sum = |part: fn(&MemoryParts) -> u64| -> f64 {
        run.measured.memory.values().map(part).sum::<u64>() as f64 / MIB as f64
    };
    [
        (sum(|parts| parts.model.0), "var(--model)", "weights"),
        (sum(|parts| parts.context.0), "var(--cache)", "cache"),
        (sum(|parts| parts.compute.0), "var(--compute)", "compute"),
        (sum(|parts| parts.overhead.unwrap_or_default().0), "var(--other)", "other"),
    ]
}

/// MiB of all parts.
fn total(run: &BenchRun) -> f64 {
    parts(run).iter().map(|part| part.0).sum()
}

/// One bar a run, stacked by part.
fn memory_plot(runs: &[BenchRun]) -> String {
    let largest = runs.iter().map(total).fold(1.0, f64::max);
    let height = 40.0 + 34.0 * runs.len() as f64;
    let mut svg = open(height, "Memory by part, one bar for each configuration");
    for (index, run) in runs.iter().enumerate() {
        let top = 10.0 + 34.0 * index as f64;
        let _ = write!(svg, "<text x=\"8\" y=\"{:.1}\">{}</text>", top + 17.0, escape(&run.config));
        let mut at = LEFT;
        for (amount, color, name) in parts(run) {
            let width = amount / largest * (RIGHT - LEFT - 90.0);
            let _ = write!(
                svg,
                "<rect x=\"{at:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"24\" fill=\"{color}\"><title>{name}: {amount:.1} MiB</title></rect>"
            );
            at += width;
        }
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{:.0} MiB</text>", at + 6.0, top + 17.0, total(run));
    }
    let legend_top = height - 12.0;
    let names = [
        ("weights", "var(--model)"),
        ("cache", "var(--cache)"),
        ("compute", "var(--compute)"),
        ("other", "var(--other)"),
    ];
    for (index, (name, color)) in names.iter().enumerate() {
        let x = LEFT + 110.0 * index as f64;
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{legend_top:.1}\">{name}</text>",
            legend_top - 11.0,
            x + 18.0
        );
    }
    figure(&(svg + "</svg>"), "All devices and RAM together, as the server's log counts its buffers.")
}

/// A line to each run: its cache grows with the context, steeper for wider types; weights, windows and states do not grow.
fn context_plot(runs: &[BenchRun]) -> String {
    let series = runs.iter().map(|run| Series {
        name: format!("{} {}", run.config, run.cache_name()),
        points: {
            let grown = run.server.bytes_per_token.mib() * f64::from(run.server.context);
            let all = total(run);
            vec![(0.0, (all - grown).max(0.0)), (f64::from(run.server.context), all)]
        },
    });
    let svg = line_plot(&series.collect::<Vec<_>>(), "tokens of context", "MiB of memory");
    figure(&svg, "Each line ends at what was measured; its slope is what a token of context costs.")
}

fn speed_plot(runs: &[BenchRun]) -> String {
    let series = runs.iter().map(|run| Series {
        name: format!("{} {}", run.config, run.cache_name()),
        points: run
            .measured
            .speeds
            .iter()
            .map(|speed| (f64::from(speed.filled_tokens), speed.tokens_per_second.median))
            .collect(),
    });
    let svg = line_plot(&series.collect::<Vec<_>>(), "tokens in the context", "tokens per second");
    figure(&svg, "Median of the timed runs.")
}

struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

fn line_plot(series: &[Series], x_name: &str, y_name: &str) -> String {
    const TOP: f64 = 42.0;
    const BOTTOM: f64 = 250.0;
    let points = || series.iter().flat_map(|one| one.points.iter().copied());
    let x_most = points().map(|point| point.0).fold(1.0, f64::max);
    let y_most = round_above(points().map(|point| point.1).fold(0.0, f64::max));
    let x = |value: f64| LEFT + value / x_most * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - value / y_most * (BOTTOM - TOP);
    let mut svg = open(300.0 + 18.0 * series.len() as f64, &format!("{y_name} against {x_name}"));
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let (x_value, y_value) = (share * x_most, share * y_most);
        // The last one would leave the page.
        let anchor = if step == 4 { "end" } else { "middle" };
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"var(--faint)\"/>\
             <text x=\"{1:.1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>\
             <text x=\"{4:.1}\" y=\"{5}\" text-anchor=\"{anchor}\">{6}</text>",
            y(y_value),
            LEFT - 8.0,
            y(y_value) + 4.0,
            tick(y_value),
            x(x_value),
            BOTTOM + 18.0,
            tick(x_value)
        );
    }
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = write!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x_name}</text>", BOTTOM + 36.0);
    let _ = write!(svg, "<text x=\"8\" y=\"16\">{y_name}</text>");
    for (index, one) in series.iter().enumerate() {
        let color = LINES[index % LINES.len()];
        let path: Vec<String> = one.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for point in &one.points {
            let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{color}\"/>", x(point.0), y(point.1));
        }
        let top = 304.0 + 18.0 * index as f64;
        let _ = write!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{top:.1}\">{}</text>",
            top - 6.0,
            LEFT + 18.0,
            escape(&one.name)
        );
    }
    svg + "</svg>"
}

/// Four steps of a round size reach it.
fn round_above(value: f64) -> f64 {
    let step = value.max(1e-9) / 4.0;
    let power = 10_f64.powf(step.log10().floor());
    let round = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0].into_iter().find(|round| round * power >= step);
    round.unwrap_or(10.0) * power * 4.0
}

fn tick(value: f64) -> String {
    let is_whole = (value - value.round()).abs() < 1e-9;
    if value >= 100.0 || is_whole { grouped(value.round() as u64) } else { format!("{value:.1}") }
}

fn open(height: f64, label: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">", escape(label))
}

fn figure(svg: &str, caption: &str) -> String {
    format!("<figure>{svg}<figcaption>{}</figcaption></figure>", escape(caption))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(escape("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        assert_eq!(tick(139_520.0), "139,520");
        assert_eq!((tick(11.0), tick(2.5)), ("11".to_owned(), "2.5".to_owned()));
    }

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_highest_point() {
        let ends: Vec<f64> = [503.0, 18.8, 0.9, 64.0, 1.0].into_iter().map(round_above).collect();
        for (end, expected) in ends.iter().zip([600.0, 20.0, 1.0, 80.0, 1.0]) {
            assert!((end - expected).abs() < 1e-9, "{ends:?}");
        }
        assert!(round_above(0.0) > 0.0);
    }
}
