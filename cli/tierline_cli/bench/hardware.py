"""What a benchmark ran on, so that its figures can be read a year later."""

import os
import platform
import subprocess
import time
from pathlib import Path

_YARDSTICK_TURNS = 2_000_000
_WIDE = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")


def describe_hardware() -> dict[str, object]:
    """Return processor, cores that this process may use, memory, the load before it began and how fast a core was.

    Shared machines compute at very different speeds from day to day: `yardstick_ms`, the processor time of a fixed loop
    of the interpreter, says by how much two days' figures differ for that alone.
    """
    cpu = _cpu_fields()
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "instruction_sets": [name for name in _WIDE if name in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_1m_before": round(os.getloadavg()[0], 2),
        "yardstick_ms": round(yardstick_ms(), 1),
    }


def yardstick_ms() -> float:
    """Return the processor time of a fixed loop of the interpreter, the best of three."""
    return min(_loop_ms() for _ in range(3))


def _loop_ms() -> float:
    began_s = time.process_time()
    total = 0
    for number in range(_YARDSTICK_TURNS):
        total += number
    return (time.process_time() - began_s) * 1e3


def revision(checkout: Path) -> str:
    """Return the commit of `checkout`, marked when files differ from it; "unknown" where there is no git."""
    try:
        commit = _git(checkout, "rev-parse", "--short", "HEAD")
        return f"{commit}+changes" if _git(checkout, "status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _cpu_fields() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo, empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
