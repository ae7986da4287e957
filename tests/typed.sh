#!/bin/sh
# mypy does not follow the package mapping of pyproject.toml, so it sees the packages where they will be installed:
# a tree of links under build/typed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tree=$root/build/typed
mypy=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
rm -rf "$tree"
mkdir -p "$tree/gacer_tune"
for entry in "$root"/gacer_tune/*; do
  ln -s "$entry" "$tree/gacer_tune/$(basename "$entry")"
done
ln -s "$root/ir" "$tree/gacer_tune/ir"
ln -s "$root/cost_model" "$tree/gacer_tune/cost_model"
cd "$tree"
exec "$mypy" --config-file "$root/pyproject.toml" -p gacer_tune
