//! A llama.cpp of a few lines of C: enough of ggml's interface that the probe can load it and list a device.
#![allow(clippy::unwrap_used, reason = "a test helper may stop the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;
use std::process::Command;

/// Base, with one device whose memory question does what `MEMORY` says.
pub const BASE: &str = r#"
#include <stddef.h>
#include <stdio.h>
#ifndef MEMORY
#define MEMORY *free = 1 << 20; *total = 2 << 20
#endif
void ggml_log_set(void (*log)(int, const char *, void *), void *data) { log(2, "hello from ggml\n", data); }
const char *ggml_backend_reg_name(void *reg) { return "CUDA"; }
size_t ggml_backend_reg_dev_count(void *reg) { return 1; }
const char *ggml_backend_dev_name(void *dev) { return "CUDA0"; }
const char *ggml_backend_dev_description(void *dev) { return "Card"; }
int ggml_backend_dev_type(void *dev) { return 1; }
void ggml_backend_dev_memory(void *dev, size_t *free, size_t *total) { MEMORY; }
static int registration = 3;
void *ggml_backend_dev_backend_reg(void *dev) { return &registration; }
"#;
pub const GGML: &str = r#"
#include <stddef.h>
#include <stdio.h>
static int registration = 3;
size_t ggml_backend_reg_count(void) { return 1; }
void *ggml_backend_reg_get(size_t index) { return &registration; }
size_t ggml_backend_dev_count(void) { return 1; }
void *ggml_backend_dev_get(size_t index) { return &registration; }
void ggml_backend_load_all_from_path(const char *path) { puts("chatter on stdout"); }
"#;

/// Whether there is a compiler and it made the library.
pub fn compile(folder: &Path, name: &str, source: &str, flags: &[&str]) -> bool {
    let file = folder.join(format!("{name}.c"));
    fs_err::write(&file, source).unwrap();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-w", "-o"]).arg(folder.join(name)).arg(&file).args(flags);
    let done = command.status().is_ok_and(|status| status.success());
    if !done {
        eprintln!("skipped: no working `cc`");
    }
    done
}

pub const LLAMA: &str = "const char *llama_print_system_info(void) { return \"CUDA : ARCHS = 860 | \"; }";
