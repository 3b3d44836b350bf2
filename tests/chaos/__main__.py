"""Failures at length, in real time and on real processes: `python -m tests.chaos [name ...]` prints a table and fails where a
figure is over its limit.
"""

from __future__ import annotations

import asyncio
import sys
import time
import warnings

from . import answers, attackers, ends, kills, many, stores

SCENARIOS = {
    "stores": stores.run,
    "answers": answers.run,
    "kills": kills.run,
    "ends": ends.run,
    "many": many.run,
    "attackers": attackers.run,
}


async def main(names: list[str]) -> int:
    rows = []
    for name in names or SCENARIOS:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        for row in await SCENARIOS[name]():
            rows.append((name, *row))
            print("  ", *row, flush=True)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n| {'scenario':8} | {'what':88} | {'figure':>10} | {'limit':>8} |\n|---|---|---|---|")
    for name, what, figure, limit in rows:
        mark = "" if figure <= limit else "  <-- over"
        print(f"| {name:8} | {what:88} | {figure:10.4g} | {limit:8g} |{mark}")
    return sum(figure > limit for _, _, figure, limit in rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # stores fail here by the hundred
    sys.exit(1 if asyncio.run(main(sys.argv[1:])) else 0)
