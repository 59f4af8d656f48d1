#!/usr/bin/env bash
# The suites, each with its time; all of them run, and the last lines name those that failed.
# Processes and clusters are mostly waited for, so suites run beside each other. Those that only compute, and look at no
# real clock, do so at the lowest priority from the beginning.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()
lanes=()
mkdir -p out
trap 'kill -- ${lanes[@]/#/-} 2> /dev/null; exit 130' INT TERM

suite() { # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if "$@"; then printf -- '--- %s: ok after %d s\n' "$name" $((SECONDS - start))
  else failed+=("$name"); printf -- '--- %s: FAILED after %d s\n' "$name" $((SECONDS - start)); fi
}

# A lane is a session of its own: Linux shares the processors by session first, and by niceness only within one.
lane() { # LOG NICENESS COMMAND...
  local log=$1 niceness=$2
  shift 2
  setsid bash -c 'echo $0 2> /dev/null > /proc/self/autogroup; exec nice -n $0 "$@"' "$niceness" "$@" > "$log" 2>&1 &
  lanes+=($!)
}

finished() { # LANE LOG
  wait "$1"
  local code=$?
  cat "$2"
  return $code
}

exhaustive=(-m "not exhaustive")
[ -n "${TIERLINE_EXHAUSTIVE:-}" ] && exhaustive=()
# Where the time goes is said each time: the slowest tests of each suite.
pytest=("$bin/python" -m pytest -q --durations 15 --durations-min 2 "${exhaustive[@]}")
integration=tests/integration
same_answers=$integration/worker/test_smollm2_equals_transformers.py
on_the_cluster=$integration/gateway/test_gateway_kubernetes.py

suite check make --no-print-directory check
suite control-plane "$bin/tierline-devcluster" build

lane out/test-computing.log 19 "${pytest[@]}" tests/property tests/effects "$same_answers" --timeout 900
suite unit "${pytest[@]}" tests/unit -n 2
lane out/test-serving.log 0 "${pytest[@]}" "$integration"/{worker,gateway} --ignore "$same_answers" --ignore "$on_the_cluster"
suite 'integration: cluster' "${pytest[@]}" "$integration"/{operator,api,agent,devcluster} "$on_the_cluster"
suite 'integration: worker and gateway, begun with the cluster' finished "${lanes[1]}" out/test-serving.log
suite e2e "${pytest[@]}" e2e
suite 'property and effects, begun with the unit tests' finished "${lanes[0]}" out/test-computing.log

printf '\nall suites in %d s\n' "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
