"""``python -m benchmarks.run``: measure, then write one table and one JSON file.

Needs the extra ``[bench]``, nginx (Debian and Ubuntu: ``apt-get install nginx-light``) and, for the Hypha cases, the
extra ``[server]`` here or in the environment that ``CLOUDFILES_HYPHA_SERVER_PYTHON`` names. What is missing is said
in the table, and the rest is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import traceback
from pathlib import Path

from .async_cases import CASES as ASYNC_CASES
from .bucket_cases import CASES as BUCKET_CASES
from .cases import CASES as OTHER_CASES
from .cases import Bench, Row, allow_many_sockets, log
from .file_cases import CASES as FILE_CASES
from .library_cases import CASES as LIBRARY_CASES
from .mount_cases import CASES as MOUNT_CASES
from .report import as_json, as_markdown, environment
from .servers import Unavailable

CASES = {**OTHER_CASES, **BUCKET_CASES, **FILE_CASES, **LIBRARY_CASES, **ASYNC_CASES, **MOUNT_CASES}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds of every case; else 2 to 5, as the case says")
    parser.add_argument("--quick", action="store_true", help="two rounds with a fifth of the items: does it work?")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write; the table goes beside it as .md")
    options = parser.parse_args()
    # Only a whole run replaces the results that the documentation cites.
    whole = not options.only and not options.quick and options.repeat is None
    target = options.json or RESULTS / ("latest.json" if whole else "partial.json")
    settings = {"only": options.only, "repeat": options.repeat, "quick": options.quick}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the exits that stop the servers
    allow_many_sockets()

    about = environment()
    failed = False
    with contextlib.ExitStack() as stack:
        bench = Bench(options.repeat, options.quick, stack)
        for name in options.only or CASES:
            try:
                CASES[name](bench)
            except Unavailable as error:
                log(f"{name}: {error}")
                bench.rows.append(Row(name, "", (), note=str(error)))
            except Exception as error:  # noqa: BLE001 -- the other cases are still worth measuring
                failed = True
                traceback.print_exc()
                bench.rows.append(Row(name, "", (), note=f"failed ({type(error).__name__})"))

    table = as_markdown(bench, about, settings, CASES)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(as_json(bench, about, settings), indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
