#!/bin/sh
# All that needs an NVIDIA GPU, in less than nine minutes: sh tests/gpu/run_all.sh BUNDLE OUT [--dry-run]
# BUNDLE is what `python -m tests.gpu.bundle` has written (docs/cuda.md); results go to OUT as JSON, a table comes last.
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
PYTHONPATH="$PWD:$bundle/site${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH PYTHONUNBUFFERED=1
status=0
small=''
[ -z "$mode" ] || small=--small
if [ -z "$mode" ]; then
  nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv,noheader | tee "$out/gpu.txt"
fi
echo "== correctness, exactness, faults"
timeout 200 "$python" -m tests.gpu.check "$bundle" --json "$out/check.json" --budget 150 $mode || status=1
echo "== plans against PyTorch (milliseconds)"
timeout 330 "$python" -m tests.gpu.measure "$bundle" --json "$out/measure.json" --budget 270 $small $mode || status=1
exit $status
