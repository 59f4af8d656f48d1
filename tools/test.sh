#!/usr/bin/env bash
# The suites in the order of their price, each with its time; the first failure of each is shown, all of them run.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()
mkdir -p out

suite() { # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if "$@"; then printf -- '--- %s: ok in %d s\n' "$name" $((SECONDS - start))
  else failed+=("$name"); printf -- '--- %s: FAILED after %d s\n' "$name" $((SECONDS - start)); fi
}

exhaustive=(-m "not exhaustive")
[ -n "${TIERLINE_EXHAUSTIVE:-}" ] && exhaustive=()
pytest=("$bin/python" -m pytest -q "${exhaustive[@]}")

suite check make --no-print-directory check
suite control-plane "$bin/tierline-devcluster" build
suite unit "${pytest[@]}" tests/unit tests/property -n 2
suite effects "${pytest[@]}" tests/effects -n 2
suite integration "${pytest[@]}" tests/integration
suite e2e "${pytest[@]}" e2e

printf '\nall suites in %d s\n' "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
