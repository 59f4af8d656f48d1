#!/usr/bin/env bash
# The suites, each with its time; all of them run, and the last lines name those that failed.
# Two lanes: tests of processes and clusters mostly wait, so those that only compute run beside them at the lowest
# priority. Nothing in that second lane looks at a real clock.
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
  else failed+=("$name"); printf -- '--- %s: FAILED after %d s\n' "$name" $((SECONDS - start)); return 1; fi
}

exhaustive=(-m "not exhaustive")
[ -n "${TIERLINE_EXHAUSTIVE:-}" ] && exhaustive=()
pytest=("$bin/python" -m pytest -q "${exhaustive[@]}")

suite check make --no-print-directory check
suite control-plane "$bin/tierline-devcluster" build

computing=out/test-computing.log
# A session of its own: Linux shares the processors by session first, and by niceness only within one.
setsid bash -c 'echo 19 2> /dev/null > /proc/self/autogroup; exec nice -n 19 "$@"' - \
  "${pytest[@]}" tests/property tests/effects --timeout 900 > "$computing" 2>&1 &
second_lane=$!
trap 'kill -- -$second_lane 2> /dev/null; exit 130' INT TERM

suite unit "${pytest[@]}" tests/unit -n 2
suite integration "${pytest[@]}" tests/integration
suite e2e "${pytest[@]}" e2e

finished() { wait "$second_lane"; local rc=$?; cat "$computing"; return $rc; }
suite 'property and effects (since the unit tests began)' finished

printf '\nall suites in %d s\n' "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
