#!/usr/bin/env bash
# Builds, tests and times on a machine with a GPU and no network: torch >= 2.10, nvcc, cmake, ninja, pytest.
# Writes JSON lines and logs to ${OUT:-benchmarks/out}. Fails if the build or a test fails, or if a benchmark
# does; the benchmarks run even where tests failed. All of it stays within ten minutes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT=${OUT:-benchmarks/out}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 WMSCORE_REQUIRE_CUDA=1 WMSCORE_REQUIRE_KERNELS=1
status=0

step() { # name, seconds, command...: runs it, logs it, remembers a failure
  local name=$1 seconds=$2
  shift 2
  echo "== $name"
  timeout --kill-after=10 "$seconds" "$@" 2>&1 | tee "$OUT/$name.log"
  local code=${PIPESTATUS[0]}
  if [ "$code" -ne 0 ]; then
    echo "== $name FAILED with $code"
    status=1
  fi
  return "$code"
}

build() {
  cmake -S csrc -B build/gpu -G Ninja -DPython_EXECUTABLE="$(command -v "$PYTHON")" && cmake --build build/gpu
}
export -f build
export PYTHON

nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv | tee "$OUT/gpu.csv" || true
step build 150 bash -c build || exit 1
step kernels 60 "$PYTHON" -c 'from wmscore.ops import kernels; print(kernels())'

# Files with tests for a GPU import torch, numpy and pytest only; others may need what is not installed here.
mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.needs_cuda' tests/ops tests/functional)
if "$PYTHON" -c 'import pytest' 2>/dev/null; then
  step tests 210 "$PYTHON" -m pytest -m needs_cuda --run-slow -p no:cacheprovider -q "${files[@]}"
else
  echo "== tests FAILED: pytest is not installed for $PYTHON"
  status=1
fi

deadline=$((SECONDS < 480 ? 560 - SECONDS : 80)) # what is left of ten minutes, shared by the benchmarks
benchmarks=(benchmarks/bench_*.py)
for file in "${benchmarks[@]}"; do
  name=$(basename "$file" .py)
  step "$name" $((deadline / ${#benchmarks[@]})) "$PYTHON" "$file" --device cuda --out "$OUT/$name.jsonl"
done
exit $status
