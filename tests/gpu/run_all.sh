#!/bin/sh
# All that needs an NVIDIA GPU, in less than nine minutes: sh tests/gpu/run_all.sh BUNDLE OUT [--dry-run]
# BUNDLE is one part of what `python -m tests.gpu.bundle` has written (docs/cuda.md); results go to OUT as JSON, a table
# comes last, whatever happened before. Where nothing can be measured there is one message, and OUT stays as it was.
set -u
ulimit -c 0 2>/dev/null # candidates crash on purpose: the image of a process that has a GPU takes long to write
begin=$(date +%s)
bundle=${1:?BUNDLE, the folder that tests.gpu.bundle has written}
out=${2:?OUT, a folder for the results}
mode=${3:-}
python=${PYTHON:-python3}
case $mode in
'' | --dry-run) ;;
*) echo "$mode: allowed is --dry-run, or nothing" >&2 && exit 2 ;;
esac
[ -d "$bundle" ] || { echo "$bundle: no such folder" >&2 && exit 2; }
ls "$bundle"/*.tar.xz >/dev/null 2>&1 || { echo "$bundle: no mixes in it, as tests.gpu.bundle writes them" >&2 && exit 2; }
case $out in /*) ;; *) out=$PWD/$out ;; esac
bundle=$(cd "$bundle" && pwd) || exit 2
cd "$(dirname "$0")/../.." || exit 2

# Unpacked, a part is up to ten times as large: where the usual place has less room, it goes beside the part.
place=${TMPDIR:-/tmp}
room=$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 { print $4 }')
[ "${room:-0}" -gt $(($(du -sk "$bundle" | cut -f1) * 10)) ] || place=$bundle
links=$(mktemp -d "$place/gpu.XXXXXX") || exit 2
sampler=
trap 'rm -rf "$links"; [ -z "$sampler" ] || kill "$sampler" 2>/dev/null' EXIT
trap 'exit 143' INT TERM

# The packages as they would be installed, in links: nothing needs to be installed here.
mkdir "$links/gacer_tune" "$links/mixes" "$links/tmp" "$links/without"
for path in "$PWD"/gacer_tune/* "$PWD/ir" "$PWD/cost_model"; do ln -s "$path" "$links/gacer_tune/"; done
ln -s "$PWD/tests" "$PWD/models" "$links/"
cd "$links" || exit 2
everything="$links:$bundle/site${PYTHONPATH:+:$PYTHONPATH}"
# TVM's FFI would compile an extension for PyTorch that nothing here uses.
export PYTHONPATH="$everything" PYTHONUNBUFFERED=1 TVM_FFI_DISABLE_TORCH_C_DLPACK=1 TMPDIR="$links/tmp"
status=0
if [ -z "$mode" ]; then
  timeout -k 5 60 "$python" -m tests.gpu.here >"$links/gpu.json" || {
    code=$?
    [ "$code" -eq 2 ] || echo "the GPU does not answer (exit code $code): nothing was begun" >&2
    exit 2
  }
fi
mkdir -p "$out" || exit 2
rm -f "$out/check.json" "$out/shares.json" "$out/measure.json"
if [ -z "$mode" ]; then
  cp "$links/gpu.json" "$out/"
  cat "$links/gpu.json"
  # Clocks that drop are seen here; what is compared is timed in turns, so that they drop for both.
  fields=timestamp,clocks.sm,clocks.mem,temperature.gpu,power.draw
  nvidia-smi --query-gpu=$fields --format=csv -l 2 >"$out/clocks.csv" 2>&1 &
  sampler=$!
fi

# A mix that cannot be unpacked is there without content: its row says so.
for archive in "$bundle"/*.tar.xz; do
  "$python" -W ignore -m tarfile -e "$archive" mixes || tar -C mixes -xJf "$archive" || {
    mix=mixes/$(basename "$archive" .tar.xz)
    rm -rf "$mix" && mkdir -p "$mix" && : >"$mix/workload.json"
  }
done

# TVM's FFI also imports PyTorch, which takes seconds in each process: not where nobody asks for it.
echo 'raise ImportError("left out of the checks")' >without/torch.py

# part NAME UNTIL: a module of tests.gpu, until so many seconds after the begin. What ends a process, or hangs, costs its
# mix: the next process goes on behind it, as long as each gets further than the one before.
part() {
  name=$1 until=$((begin + $2)) before=-
  while left=$((until - $(date +%s))) && [ "$left" -gt 5 ]; do
    now=$(cat "$out/$name.json" 2>/dev/null | cksum)
    [ "$now" != "$before" ] || break
    before=$now
    timeout -k 5 "$left" "$python" -m "tests.gpu.$name" mixes --json "$out/$name.json" --budget $((left * 4 / 5)) $mode
    code=$?
    [ "$code" -ne 0 ] || return 0
    status=1
    [ "$code" -ne 3 ] || return 0
    echo "$name: stopped with exit code $code" >&2
  done
  # No time is left, or no process gets further: the other mixes have rows all the same.
  timeout -k 5 20 "$python" -m "tests.gpu.$name" mixes --json "$out/$name.json" --budget -1 $mode >/dev/null
}

echo "== correctness, exactness, faults"
PYTHONPATH="$links/without:$everything"
part check 170
echo "== shares of the GPU"
part shares $(($(date +%s) - begin + 45))
PYTHONPATH=$everything
echo "== plans against PyTorch"
part measure 495
echo "== in short ${mode:+(a dry run: figures mean nothing) }(milliseconds)"
"$python" -m tests.gpu.tables "$out" || status=1
exit $status
