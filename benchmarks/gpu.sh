#!/usr/bin/env bash
# Builds, tests, times and sanitizes on a machine with a GPU and no network: torch >= 2.10, nvcc, cmake, ninja,
# pytest. Writes JSON lines and logs to ${OUT:-benchmarks/out}. Fails if the build, a test, a benchmark or a
# sanitizer does; the rest runs even where tests failed. All of it stays within ten minutes.
#   PYTHONPATH   folders with peers to compare with, where they are not installed
#   FUSED_SSIM   a checkout of rahul-goel/fused-ssim to compare with; built in place if it is not
#   CUDAARCHS    "native" unless set: only this machine's GPU
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT=${OUT:-benchmarks/out}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
export PYTHON PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export CUDAARCHS=${CUDAARCHS:-native} WMSCORE_REQUIRE_CUDA=1 WMSCORE_REQUIRE_KERNELS=1
status=0
END=590

step() { # name, most seconds, command...: runs it within what is left, logs it, remembers a failure
  local name=$1 seconds=$2 left=$((END - SECONDS))
  shift 2
  if [ "$left" -lt 5 ]; then
    echo "== $name FAILED: no time left"
    status=1
    return 1
  fi
  echo "== $name (at $SECONDS s)"
  timeout --kill-after=5 $((seconds < left ? seconds : left)) "$@" 2>&1 | tee "$OUT/$name.log"
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
build_fused_ssim() {
  cd "$FUSED_SSIM" || return
  ls fused_ssim_cuda*.so 2>/dev/null || "$PYTHON" setup.py build_ext --inplace
}
export -f build build_fused_ssim

nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv | tee "$OUT/gpu.csv" || true
step build 150 bash -c build || exit 1
step kernels 60 "$PYTHON" -c 'from wmscore.ops import kernels; print(kernels())'

# Files with tests for a GPU import torch, numpy and pytest only; others may need what is not installed here.
mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.needs_cuda' tests/ops tests/functional tests/networks)
pytest=("$PYTHON" -m pytest -m needs_cuda -p no:cacheprovider -q)
if "$PYTHON" -c 'import pytest' 2>/dev/null; then
  step tests 180 "${pytest[@]}" --run-slow "${files[@]}"
else
  echo "== tests FAILED: pytest is not installed for $PYTHON"
  status=1
fi

declare -A options=([bench_frame_ssim]="" [bench_lpips]="--sides 64 256 --seeds 1 8 --rounds 5"
  [bench_identity]="--rollouts 16 256 --sides 64 128" [bench_tracking]="--rollouts 16 256"
  [bench_response]="--groups 64 --rounds 5" [bench_first_crossing]="--rounds 5"
  [bench_panels]="--rounds 3 --most-numpy 0 --most-pandas 0" [bench_comparison]="--rounds 3 --alone"
  [bench_replay]="--rounds 3 --worlds sprites" [bench_stats]="--rounds 3 --alone --most 1000")
if [ -n "${FUSED_SSIM:-}" ] && step fused-ssim 100 bash -c build_fused_ssim; then
  options[bench_frame_ssim]+=" --fused-ssim $FUSED_SSIM"
fi
if "$PYTHON" -c 'import triton' 2>/dev/null; then
  options[bench_frame_ssim]+=" --compile"
fi
sanitizer=$(command -v compute-sanitizer || true)
reserve=$([ -n "$sanitizer" ] && echo 80 || echo 0)
# Replay and ingest time simulators and decoders, which need no GPU and more packages than there are here.
mapfile -t benchmarks < <(ls benchmarks/bench_*.py | grep -vE 'bench_(replay|ingest)')
waiting=${#benchmarks[@]}
for file in "${benchmarks[@]}"; do # each may use its share of what the earlier ones left
  name=$(basename "$file" .py)
  share=$(((END - SECONDS - reserve) / waiting))
  # shellcheck disable=SC2086  # options are words
  step "$name" $((share > 20 ? share : 20)) "$PYTHON" "$file" --device cuda --out "$OUT/$name.jsonl" ${options[$name]:-}
  waiting=$((waiting - 1))
done

# Small cases, of uint8 where there are: every access is checked, which is slow. Without torch's cache each tensor has its own block.
if [ -n "$sanitizer" ]; then
  small='(uint8 or label_propagate or assignment or (first_crossing and strides and float32)) and cuda and not (2_to_the_31 or compiles or opcheck or graph or stream or 131 or 200)'
  for tool in memcheck racecheck; do
    before=$status
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 step "$tool" $(((END - SECONDS) / 2)) "$sanitizer" --tool "$tool" \
      --error-exitcode 9 "${pytest[@]}" -x -k "$small" tests/ops
    if [ $? -eq 124 ]; then # out of time, without an error so far
      echo "== $tool did not finish"
      status=$before
    fi
  done
else
  echo "== memcheck, racecheck: not run, compute-sanitizer was not found"
fi
exit $status
