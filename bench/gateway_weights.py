"""Two tenants of weights 4:1 over three gateway processes and a real Redis: what each gets while both wait.

    PYTHONPATH=tests/support python bench/gateway_weights.py [--tokens 16000] [--windows 3] [--json FILE]

The heavier tenant comes in at one gateway, the other one at the two others; without shared counters the worker's equal
credits would serve them 1:2. Gateways, Redis and connections are real, the worker is the tests' one: slots, a token for
each of them every 10 ms, the engine's own ledger of credits. Only tokens given while both tenants have more requests
out than run count, so what the machine delays delays both. The first answers, from when all three gateways know of each
other, are not counted.

What counts is off by at most the queue's bound and what is served between two exchanges, once at each end of a window:
some hundred weighted tokens, so a window of 16,000 tokens resolves 2 %.
"""

import argparse
import asyncio
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gateway_trio import TOKENS, WEIGHTS, Fleet, skewed
from redis_testing import RedisServer
from shared_worker import SharedWorker

from tierline_cli.bench.hardware import describe_hardware, revision

CHECKOUT = Path(__file__).parents[1]


async def measured(url_store: RedisServer, windows: int, tokens: int) -> list[dict[str, float]]:
    """Return for each window what both tenants got, and how far that is off 4:1."""
    worker = SharedWorker()
    await worker.start()
    fleet = Fleet(url_store, worker)
    try:
        await skewed(fleet)
        return [await _window(fleet, tokens) for _ in range(windows)]
    finally:
        await fleet.close()


async def _window(fleet: Fleet, tokens: int) -> dict[str, float]:
    loop, worker = asyncio.get_running_loop(), fleet.worker
    began_s, given, busy, iterations = loop.time(), worker.served.total(), worker.busy_slots, worker.iterations
    served = await fleet.served_within(tokens)
    ratio = served["acme"] / served["zeta"]
    row = {
        "seconds": round(loop.time() - began_s, 1),
        **served,
        "ratio": round(ratio, 4),
        "off_percent": round(100 * abs(ratio / 4 - 1), 2),
        "not_counted_percent": round(100 * (1 - sum(served.values()) / (worker.served.total() - given)), 2),
        "slots_used_percent": round(
            100 * (worker.busy_slots - busy) / (worker.iterations - iterations) / worker.slots, 1
        ),
    }
    print(", ".join(f"{name} {value}" for name, value in row.items()))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16_000, help="of a window")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    hardware = describe_hardware()
    with tempfile.TemporaryDirectory(prefix="tierline-bench-") as folder:
        store = RedisServer(Path(folder))
        store.start()
        try:
            rows = asyncio.run(measured(store, options.windows, options.tokens))
        finally:
            store.kill()
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(CHECKOUT),
        "hardware": hardware | {"load_1m_after": round(os.getloadavg()[0], 2)},
        "gateways": 3,
        "weights": WEIGHTS,
        "answer_tokens": TOKENS,
        "windows": rows,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
