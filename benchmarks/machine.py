"""Facts that belong beside a measurement: the machine, the versions, and what else was running."""

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """What somebody needs to know to judge or repeat a measurement."""
    return {
        "cpu": _cpu_model(),
        "cores": len(usable_cores()),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "c_library": " ".join(platform.libc_ver()),
        "python": sys.version.replace("\n", " "),
        "load_average": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
    }


def headline(known: dict[str, Any]) -> str:
    """The facts that fit in a line."""
    version = known["python"].split()[0]
    return f"Python {version}, {known['kernel']}, {known['cpu']}, {known['cores']} cores"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "CPU implementer"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def usable_cores() -> set[int]:
    """The cores that this process may run on."""
    return os.sched_getaffinity(0)


def cores_for_pair() -> tuple[int | None, int | None, str]:
    """The cores for server and client, and a warning where they must share one."""
    cores = sorted(usable_cores())
    if len(cores) == 1:
        return None, None, "one core only: server and client share it, so requests/s are those of both together"
    return cores[0], cores[1], ""


def busy_seconds(core: int) -> float:
    """How long a core has been busy since the machine started, whoever kept it so (and time a hypervisor took)."""
    tick_seconds = 1 / os.sysconf("SC_CLK_TCK")
    for line in Path("/proc/stat").read_text().splitlines():
        name, *columns = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _io_wait, irq, soft_irq, stolen = map(int, columns[:8])
            return (user + nice + system + irq + soft_irq + stolen) * tick_seconds
    return 0.0
