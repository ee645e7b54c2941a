# shellcheck shell=bash
# To be sourced: Debian's Rust before rustup's, the Windows target, wine as the runner of its programs.
export PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
export CARGO_BUILD_TARGET=x86_64-pc-windows-gnu
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-win32
export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-win32 AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar
export CARGO_TARGET_DIR=${LLAMA_DOCTOR_WINDOWS_TARGET:-$HOME/.cache/llama-doctor-windows-target}
# Wine answers about itself; it must not open windows, fetch .NET or HTML engines, or talk.
export WINEPREFIX=${LLAMA_DOCTOR_WINE_PREFIX:-$HOME/.cache/llama-doctor-wine} WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml='
unset DISPLAY
# Cargo names this system's certificates to what it runs; wine cannot add them to its store (it refuses
# CertCreateCertificateChainEngine with roots of its own), so the runner takes the names away again.
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER="env -u SSL_CERT_FILE -u SSL_CERT_DIR /usr/lib/wine/wine64"
