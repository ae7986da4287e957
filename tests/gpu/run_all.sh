#!/bin/sh
# All that needs an NVIDIA GPU, in less than nine minutes: sh tests/gpu/run_all.sh BUNDLE OUT [--dry-run]
# BUNDLE is one part of what `python -m tests.gpu.bundle` has written (docs/cuda.md); results go to OUT as JSON, a table
# comes last, whatever happened before.
set -u
bundle=${1:?BUNDLE, the folder that tests.gpu.bundle has written}
out=${2:?OUT, a folder for the results}
mode=${3:-}
python=${PYTHON:-python3}
case $mode in
'' | --dry-run) ;;
*) echo "$mode: allowed is --dry-run, or nothing" >&2 && exit 2 ;;
esac
[ -d "$bundle" ] || { echo "$bundle: no such folder" >&2 && exit 2; }
mkdir -p "$out" || exit 2
bundle=$(cd "$bundle" && pwd) && out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.." || exit 2

# The packages as they would be installed, in links: nothing needs to be installed here.
links=$(mktemp -d) || exit 2
trap 'rm -rf "$links"' EXIT
mkdir "$links/gacer_tune"
for path in "$PWD"/gacer_tune/* "$PWD/ir" "$PWD/cost_model"; do ln -s "$path" "$links/gacer_tune/"; done
ln -s "$PWD/tests" "$PWD/models" "$links/"
for archive in "$bundle"/*.tar.xz; do "$python" -W ignore -m tarfile -e "$archive" "$links/mixes" || exit 2; done
cd "$links" || exit 2
PYTHONPATH="$links:$bundle/site${PYTHONPATH:+:$PYTHONPATH}"
# TVM's FFI would compile an extension for PyTorch that nothing here uses.
export PYTHONPATH PYTHONUNBUFFERED=1 TVM_FFI_DISABLE_TORCH_C_DLPACK=1
# It also imports PyTorch, which takes seconds in each process: not where nobody asks for it.
mkdir "$links/without"
echo 'raise ImportError("left out of the checks")' >"$links/without/torch.py"
status=0
mkdir -p "$links/mixes"
rm -f "$out/check.json" "$out/measure.json"

# part NAME SECONDS ARGUMENTS...: a module of tests.gpu, begun again behind the mix that it crashed at.
part() {
  name=$1 until=$(($(date +%s) + $2))
  shift 2
  for _ in 1 2 3 4 5; do
    left=$((until - $(date +%s)))
    [ "$left" -gt 5 ] || break
    timeout -k 5 "$left" "$python" -m "tests.gpu.$name" "$links/mixes" --json "$out/$name.json" --budget $((left * 4 / 5)) "$@" $mode
    code=$?
    [ "$code" -ne 0 ] || return 0
    [ "$code" -ne 3 ] || break
    echo "$name: stopped with exit code $code" >&2
  done
  status=1
}

if [ -z "$mode" ]; then
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv,noheader | tee "$out/gpu.txt"
fi
echo "== correctness, exactness, faults"
everything=$PYTHONPATH
PYTHONPATH="$links/without:$everything"
part check 180
PYTHONPATH=$everything
echo "== plans against PyTorch"
part measure 330
echo "== in short (milliseconds)"
"$python" -m tests.gpu.results "$out" || status=1
exit $status
