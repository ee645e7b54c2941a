#!/usr/bin/env bash
# A Windows x86_64 toolchain and a wine prefix on Debian 12, from its packages and the crate registry. Idempotent.
# Debian's rustc is used, because its sources (rust-web-src) are packaged: the Windows std is built from them, once.
# Exits 77 where it cannot be had (no apt, no root, no such packages).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/windows-env.sh"

packages=(rustc-web cargo-web rust-web-src gcc-mingw-w64-x86-64-win32 wine64)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  command -v apt-get >/dev/null || { echo "windows: no apt-get here, so no Windows toolchain" >&2; exit 77; }
  [ "$(id -u)" = 0 ] || { echo "windows: apt-get needs root" >&2; exit 77; }
  apt-get update -q
  apt-cache show rustc-web >/dev/null 2>&1 || { echo "windows: this system has no package rustc-web" >&2; exit 77; }
  DEBIAN_FRONTEND=noninteractive nice -n 15 apt-get install -yq --no-install-recommends "${packages[@]}"
fi

std=$(/usr/bin/rustc --print sysroot)/lib/rustlib/$CARGO_BUILD_TARGET/lib
complete=$std/.complete-$(/usr/bin/rustc -V | cut -d' ' -f2)
if [ ! -f "$complete" ]; then
  echo "windows: building std for $CARGO_BUILD_TARGET (once)"
  stub=$(mktemp -d)
  mkdir "$stub/src"
  : > "$stub/src/lib.rs"
  printf '[package]\nname = "stub"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\nopt-level = 1\ndebug = 0\n' \
    > "$stub/Cargo.toml"
  # RUSTC_BOOTSTRAP is for this step only: build-std is not stable.
  (cd "$stub" && env -u RUSTFLAGS CARGO_TARGET_DIR="$stub/target" RUSTC_BOOTSTRAP=1 nice -n 15 cargo build --quiet --release \
    -Z build-std=std,panic_unwind,panic_abort,test,proc_macro)
  rm -rf "$std"
  mkdir -p "$std"
  cp "$stub/target/$CARGO_BUILD_TARGET"/release/deps/*.rlib "$std/"
  rm -rf "$std"/libstub-*.rlib "$stub"
  touch "$complete"
fi

if [ ! -f "$WINEPREFIX/.ready" ]; then
  echo "windows: making a wine prefix in $WINEPREFIX"
  mkdir -p "$(dirname "$WINEPREFIX")"
  # wineboot complains about syswow64: there is no 32-bit wine, and nothing here needs it.
  /usr/lib/wine/wine64 wineboot -i
  # A new prefix says that it is Windows 7.
  /usr/lib/wine/wine64 winecfg -v win10
  x86_64-w64-mingw32-gcc -shared -O2 -s -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" \
    "$here/windows-bcryptprimitives.c" -ladvapi32
  touch "$WINEPREFIX/.ready"
fi
