"""Run every example, each in a process of its own, on a Hypha server that is started here; ``make examples`` does."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cloudfiles_hypha.devserver import DevServer

HERE = Path(__file__).resolve().parent
# What is a module of another example, or this.
NOT_RUN = {"mounts_service.py", "run_all.py"}


def scripts() -> list[Path]:
    """Those that are run."""
    return [path for path in sorted(HERE.glob("*.py")) if path.name not in NOT_RUN]


def run_all(environment: Mapping[str, str]) -> list[str]:
    """The names of those that failed."""
    failed = []
    for script in scripts():
        print(f"\n--- {script.name}", flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, script], env={**os.environ, **environment}, check=False)
        print(f"    {'ok' if done.returncode == 0 else 'FAILED'} after {time.monotonic() - began:.1f} s", flush=True)
        if done.returncode:
            failed.append(script.name)
    return failed


def main() -> int:
    print("Starting a Hypha server and its S3 on this machine ...", flush=True)
    with DevServer(workspace="examples") as server:
        failed = run_all(server.env)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nAll of them ran.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
