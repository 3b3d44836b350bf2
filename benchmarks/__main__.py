"""`python -m benchmarks [NAME ...] [--json FILE] [--markdown FILE]`: answer the questions, all of them or those named."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

from . import peers

NAMES = (
    "start",
    "calls",
    "layers",
    "blocking",
    "latency",
    "fresh",
    "storm",
    "pages",
    "codec",
    "verification",
    "middleware",
    "scale",
)
"""One module for each question."""
ON_REQUEST = ("guard", "fleet")
"""Run only when they are named."""


def about() -> str:
    """The machine, and what is compared."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores; "
        f"{peers.versions()}. CPU is user and system time of the measured process alone; a ratio is the median of the rounds' "
        "ratios, with the middle half of them in brackets."
    )


def main() -> int:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *NAMES, *ON_REQUEST], metavar="NAME", help=", ".join(NAMES + ON_REQUEST)
    )
    parser.add_argument("--json", type=Path, help="one line of JSON for each table")
    parser.add_argument("--markdown", type=Path, help="the tables, with a line on what was measured where")
    parser.add_argument("--record", action="store_true", help="guard: take what is counted now as the baseline")
    options = parser.parse_args()
    if options.record and options.names != ["guard"]:
        parser.error("--record is for guard alone")
    if len(options.names) != 1:
        return _each_alone(options)
    (name,) = options.names
    # Deprecations of peers are their own affair.
    warnings.simplefilter("ignore", DeprecationWarning)
    module = import_module(f".{name}", __package__)
    tables = module.run(record=True) if options.record else module.run()
    print(*(table.markdown() for table in tables), sep="\n", flush=True)
    if options.json:
        _append(options.json, "".join(table.json() + "\n" for table in tables))
    if options.markdown:
        _append(options.markdown, "\n".join(table.markdown() for table in tables) + "\n")
    return 1 if any(table.failed for table in tables) else 0


def _each_alone(options: argparse.Namespace) -> int:
    """Every question in a process of its own: what one has imported and allocated must not meet the next."""
    print(about(), end="\n\n", flush=True)
    for path, text in ((options.json, ""), (options.markdown, about() + "\n\n")):
        if path:
            path.write_text(text)
    more = [
        word for flag in ("json", "markdown") if (path := getattr(options, flag)) for word in (f"--{flag}", str(path))
    ]
    codes = [
        subprocess.run([sys.executable, "-W", "ignore", "-m", "benchmarks", name, *more], check=False).returncode
        for name in options.names or NAMES
    ]
    return max(codes)


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
