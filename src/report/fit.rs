//! `fit`: one row for each cache type, how the VRAM is filled, what to take and why, and how to launch it.

use std::fmt::Write as _;

use super::printer::Printer;
use super::text::{WIDTH, wrapped};
use crate::failure::Failure;
use crate::fit::choice;
use crate::fit::plan::{LimitedBy, MemoryParts, Plan, PlanDevice, PlanOption, PlanServer, SecondOpinion};
use crate::units::{Bytes, GIB, grouped};

pub fn print(printer: Printer, plan: &Plan, models: &[String]) -> Result<(), Failure> {
    if printer.json {
        return printer.json(plan);
    }
    printer.answer(human(plan, models).trim_end());
    Ok(())
}

/// The plan for people, 80 columns wide.
pub fn human(plan: &Plan, models: &[String]) -> String {
    let mut text = String::new();
    if plan.recommended.is_none() {
        text.push_str(&does_not_fit(plan));
    }
    head(&mut text, plan);
    table(&mut text, plan);
    if let Some(option) = plan.recommended.and_then(|index| plan.options.get(index)) {
        bars(&mut text, plan, option);
        let _ = writeln!(text, "Recommended: {}", wrapped(&plan.reason, WIDTH - 13, 0));
        explanation(&mut text, plan, option);
        speed(&mut text, plan, option);
        vram_contexts(&mut text, plan);
        notes(&mut text, option);
        let _ = write!(text, "\nLaunch it   {}", launch(plan, option, models));
    } else {
        if let Some(option) = plan.options.first() {
            explanation(&mut text, plan, option);
            notes(&mut text, option);
        }
        remedies(&mut text, plan);
    }
    if let Some(opinion) = &plan.second_opinion {
        second_opinion(&mut text, opinion);
    }
    text
}

fn second_opinion(text: &mut String, opinion: &SecondOpinion) {
    let _ = writeln!(text, "\n\n{}, MiB:", opinion.program);
    let _ = writeln!(text, "             weights  context  compute");
    for row in &opinion.rows {
        for (who, parts) in [("theirs", row.theirs), ("ours", row.ours)] {
            let device = if who == "theirs" { row.device.as_str() } else { "" };
            let (model, context, compute) = (parts.model.mib(), parts.context.mib(), parts.compute.mib());
            let _ = writeln!(text, "   {device:<6} {who:<6}{model:>7.0} {context:>8.0} {compute:>8.0}");
        }
    }
    for note in &opinion.notes {
        let _ = writeln!(text, "{}", wrapped(&format!("Note: {note}."), WIDTH, 2));
    }
}

fn does_not_fit(plan: &Plan) -> String {
    let shortest = plan.options.iter().filter_map(|option| {
        let (device, left) = option.headroom_bytes.iter().min_by_key(|(_, left)| **left)?;
        Some((left, device))
    });
    shortest.max().map_or_else(String::new, |(left, device)| {
        let what = if plan.options.len() > 1 {
            "Nothing fits: the smallest option needs"
        } else {
            "This does not fit: it needs"
        };
        format!("{what} {} more than {device} has\n\n", Bytes(left.unsigned_abs()))
    })
}

fn head(text: &mut String, plan: &Plan) {
    for (index, model) in plan.models.iter().enumerate() {
        let number = if plan.models.len() > 1 { format!("{}  ", index + 1) } else { String::new() };
        let line = format!(
            "{number}{} {}: {:.1} B parameters, {} layers, trained on {} tokens",
            model.name,
            model.quantization,
            model.parameters as f64 / 1e9,
            model.layers,
            grouped(u64::from(model.train_context))
        );
        let _ = writeln!(text, "{}", wrapped(&line, WIDTH, 4));
    }
    for device in &plan.devices {
        let _ = writeln!(
            text,
            "{}: {:.1} GiB, {:.1} free, {:.1} kept",
            short_name(device),
            device.total_bytes.gib(),
            device.free_bytes.gib(),
            device.reserve_bytes.gib()
        );
    }
    let Some(server) = plan.options.first().and_then(|option| option.servers.first()) else { return };
    let slots = match (server.parallel, server.kv_unified) {
        (1, _) => "one slot".to_owned(),
        (slots, true) => format!("{slots} slots, one shared cache"),
        (slots, false) => format!("{slots} slots, each with its part of the cache"),
    };
    let build = plan.build.map_or_else(String::new, |build| format!("llama.cpp {build}, "));
    let _ = writeln!(text, "{build}{slots}\n");
}

fn short_name(device: &PlanDevice) -> String {
    let name = device.name.trim_start_matches("NVIDIA ").trim_start_matches("GeForce ");
    format!("{} {name}", device.id)
}

fn table(text: &mut String, plan: &Plan) {
    let several = plan.models.len() > 1;
    let host = plan.options.iter().any(|option| option.servers.iter().any(uses_host));
    let number = if several { " no" } else { "" };
    let in_host = if host { "    host" } else { "" };
    let _ =
        writeln!(text, "   cache {number}   context      KV  weights  compute  other   total    free{in_host}  limit");
    for (index, option) in plan.options.iter().enumerate() {
        for (position, server) in option.servers.iter().enumerate() {
            let mark = if plan.recommended == Some(index) && position == 0 { '>' } else { ' ' };
            let sum = on_gpus(server);
            let name = if position == 0 { choice::label(option) } else { String::new() };
            let number = if several { format!("{:>3}", server.model + 1) } else { String::new() };
            let last = position + 1 == option.servers.len();
            let free = if last { gib(free(plan, option)) } else { String::new() };
            let in_host = if host { format!("{:>8.2}", host_bytes(server) as f64 / GIB as f64) } else { String::new() };
            let line = format!(
                " {mark} {name:<6}{number} {:>9} {:>7.2} {:>8.2} {:>8.2} {:>6.2} {:>7.2} {free:>7}{in_host}  {}",
                grouped(u64::from(server.context)),
                sum.context.gib(),
                sum.model.gib(),
                sum.compute.gib(),
                sum.overhead.unwrap_or_default().gib(),
                sum.total.unwrap_or_default().gib(),
                limit(option, server)
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    let _ = writeln!(text);
}

fn gib(bytes: i64) -> String {
    format!("{:.2}", bytes as f64 / GIB as f64)
}

/// What is free beside the plan and what is kept, on the tightest GPU where there are several.
fn free(plan: &Plan, option: &PlanOption) -> i64 {
    let left = plan.devices.iter().filter_map(|device| option.headroom_bytes.get(&device.id));
    left.copied().min().unwrap_or(0)
}

fn limit(option: &PlanOption, server: &PlanServer) -> &'static str {
    match server.limited_by {
        _ if !option.fits => "too large",
        LimitedBy::Vram => "VRAM",
        LimitedBy::TrainContext => "training",
        LimitedBy::Requested => "as asked",
    }
}

/// The sum over the GPUs.
fn on_gpus(server: &PlanServer) -> MemoryParts {
    let mut sum = MemoryParts { overhead: Some(Bytes(0)), total: Some(Bytes(0)), ..MemoryParts::default() };
    for (_, parts) in server.memory.iter().filter(|(id, _)| *id != "Host") {
        sum.model.0 += parts.model.0;
        sum.context.0 += parts.context.0;
        sum.compute.0 += parts.compute.0;
        sum.overhead = Some(Bytes(sum.overhead.unwrap_or_default().0 + parts.overhead.unwrap_or_default().0));
        sum.total = Some(Bytes(sum.total.unwrap_or_default().0 + parts.total.unwrap_or_default().0));
    }
    sum
}

fn host_bytes(server: &PlanServer) -> u64 {
    server.memory.get("Host").map_or(0, |parts| parts.model.0 + parts.context.0 + parts.compute.0)
}

/// More than the input table lies in host memory.
fn uses_host(server: &PlanServer) -> bool {
    server.cpu_moe_layers > 0 || server.memory.get("Host").is_some_and(|parts| parts.context.0 > 0)
}

/// Cells of a bar.
const BAR: u64 = 46;

fn bars(text: &mut String, plan: &Plan, option: &PlanOption) {
    for device in &plan.devices {
        let total = device.total_bytes.0.max(1);
        let part = |of: fn(&MemoryParts) -> u64| -> u64 {
            option.servers.iter().filter_map(|server| server.memory.get(&device.id)).map(of).sum()
        };
        let parts = [
            ('#', part(|parts| parts.model.0)),
            ('=', part(|parts| parts.context.0)),
            ('+', part(|parts| parts.compute.0)),
            ('o', part(|parts| parts.overhead.unwrap_or_default().0)),
        ];
        let mut bar = String::new();
        let mut upto = 0;
        for (mark, bytes) in parts {
            upto += bytes;
            let cells = (upto * BAR + total / 2) / total;
            while (bar.len() as u64) < cells.min(BAR) {
                bar.push(mark);
            }
        }
        let taken = ((total - device.free_bytes.0.min(total)) * BAR + total / 2) / total;
        while (bar.len() as u64) < BAR.saturating_sub(taken) {
            bar.push('.');
        }
        while (bar.len() as u64) < BAR {
            bar.push('x');
        }
        let _ = writeln!(text, "   {:<6}[{bar}] of {:.1} GiB", device.id, device.total_bytes.gib());
    }
    let _ = writeln!(text, "         # weights  = KV cache  + compute  o other  . free  x not ours\n");
}

fn speed(text: &mut String, plan: &Plan, option: &PlanOption) {
    for server in option.servers.iter().filter(|server| server.tokens_per_second > 0.0) {
        let who = if option.servers.len() > 1 {
            plan.models.get(server.model).map_or_else(String::new, |model| format!("{}: ", model.name))
        } else {
            String::new()
        };
        let [low, high] = server.speed_band;
        let line = format!(
            "{who}about {} tokens/s (estimate: {} to {}), prompts about {}.",
            grouped(server.tokens_per_second.round() as u64),
            grouped((server.tokens_per_second * low).round() as u64),
            grouped((server.tokens_per_second * high).round() as u64),
            grouped(server.prompt_tokens_per_second.round() as u64)
        );
        let _ = writeln!(text, "{}", wrapped(&capitalised(&line), WIDTH, 2));
    }
}

fn capitalised(line: &str) -> String {
    let mut chars = line.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn explanation(text: &mut String, plan: &Plan, option: &PlanOption) {
    for server in option.servers.iter().filter(|server| !server.explanation.is_empty()) {
        let name = plan.models.get(server.model).map_or("", |model| model.name.as_str());
        let types = choice::label(option);
        let _ = writeln!(text, "\n{name}, {types}, {} tokens; MiB:", grouped(u64::from(server.context)));
        for step in &server.explanation {
            let _ = writeln!(text, "{:>11.3}  {}", step.bytes.mib(), wrapped(&step.what, WIDTH - 13, 13));
            let _ = writeln!(text, "{:13}  {}", "", wrapped(&step.how, WIDTH - 16, 15));
        }
        let _ = writeln!(text);
    }
}

/// What VRAM would hold beyond the training context.
fn vram_contexts(text: &mut String, plan: &Plan) {
    let held: Vec<String> = plan
        .options
        .iter()
        .filter_map(|option| {
            let contexts: Vec<String> = option
                .servers
                .iter()
                .map(|server| grouped(u64::from(server.vram_context.unwrap_or(server.context))))
                .collect();
            let beyond = option.servers.iter().any(|server| server.vram_context.is_some());
            beyond.then(|| format!("{} {}", choice::label(option), contexts.join(" + ")))
        })
        .collect();
    if !held.is_empty() {
        let line = format!("VRAM alone would hold {} tokens: ask with -c, or --prefer context.", held.join(", "));
        let _ = writeln!(text, "{}", wrapped(&line, WIDTH, 0));
    }
}

fn notes(text: &mut String, option: &PlanOption) {
    for note in &option.notes {
        let _ = writeln!(text, "{}", wrapped(&format!("Note: {note}."), WIDTH, 2));
    }
}

/// The flags that make `launch` plan this very option again.
fn launch(plan: &Plan, option: &PlanOption, models: &[String]) -> String {
    let contexts: Vec<String> = option.servers.iter().map(|server| server.context.to_string()).collect();
    let mut words: Vec<String> = models.to_vec();
    if words.is_empty() {
        words = plan.models.iter().map(|model| model.source.clone()).collect();
    }
    words.push(format!("-c {}", contexts.join(",")));
    if let Some(server) = option.servers.first() {
        if server.kv_bytes.0 > 0 {
            words.push(format!("-ctk {} -ctv {}", server.cache_type_k, server.cache_type_v));
        }
        let layers = plan.models.get(server.model).map_or(0, |model| model.layers);
        if server.gpu_layers <= layers {
            words.push(format!("-ngl {}", server.gpu_layers));
        }
        if server.cpu_moe_layers > 0 {
            words.push(format!("-ncmoe {}", server.cpu_moe_layers));
        }
        match (server.parallel, server.kv_unified) {
            (4, true) => {}
            (slots, true) => words.push(format!("-np {slots} -kvu")),
            (slots, false) => words.push(format!("-np {slots}")),
        }
        if server.ubatch != 512 {
            words.push(format!("-ub {}", server.ubatch));
        }
        if server.batch != 2048 {
            words.push(format!("-b {}", server.batch));
        }
        words.extend(beside(&server.arguments));
    }
    format!("llama-doctor launch {}", words.join(" "))
}

/// The flags for a draft, a projector, and what is kept in RAM, as they were asked for.
fn beside(arguments: &[String]) -> Vec<String> {
    const FLAGS: [&str; 8] = [
        "--mmproj",
        "--spec-type",
        "--spec-draft-n-max",
        "-ctkd",
        "-ctvd",
        "-ngld",
        "--ctx-checkpoints",
        "--cache-ram",
    ];
    let value = |flag: &str| arguments.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].as_str());
    let draft = value("-md").map(|file| match value("--hf-repo-draft") {
        Some(repository) => format!("-md {repository}/{file}"),
        None => format!("-md {file}"),
    });
    let others = FLAGS.into_iter().filter_map(|flag| Some(format!("{flag} {}", value(flag)?)));
    draft.into_iter().chain(others).collect()
}

fn remedies(text: &mut String, plan: &Plan) {
    if plan.remedies.is_empty() {
        let _ = writeln!(text, "No single change makes it fit: take a smaller model, or more memory.");
        return;
    }
    let _ = writeln!(text, "What would fit, cheapest first:");
    for remedy in &plan.remedies {
        let words = remedy.arguments.join(" ");
        let contexts: Vec<String> = remedy.contexts.iter().map(|tokens| grouped(u64::from(*tokens))).collect();
        let (what, free) = (&remedy.what, remedy.headroom_bytes);
        let line = format!("{what}; holds {} tokens, leaves {free} free", contexts.join(" and "));
        let _ = writeln!(text, "  {words:<22} {}", wrapped(&line, WIDTH - 26, 25));
    }
}
