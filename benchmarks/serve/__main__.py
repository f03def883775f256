"""What the service costs, holds and refuses, and whether anything that clients do takes it down.

    python -m benchmarks.serve [load memory full faults kills] [--requests 10000] [--rounds 3]

load      pictures per second by the bare `Explainer` in a loop, and by the service at 1, 4 and 16 clients, in
          turns; what the service gives is what the loop makes: read, explained and drawn. And meanwhile the
          99th percentile of the answers to /v2/health/live.
memory    what the server holds after 500 requests, and after all.
full      a short queue and many clients: how many were refused, how many the numbers say were, and whether
          each was told when to come again.
faults    a table: what a client did, the answer, and whether the next one was served.
kills     clients that end at every stage of a request; what is left of them.

The model and the picture are those that ship.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.serve.faults import faults, kills
from benchmarks.serve.load import full, load, memory

PARTS = ("load", "memory", "full", "faults", "kills")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--requests", type=int, default=10_000, help="of memory")
    parser.add_argument("--rounds", type=int, default=3, help="of load")
    parser.add_argument("--pictures", type=int, default=32, help="of each round of load")
    parser.add_argument("--preset", choices=("exact", "fast"), default="exact", help="of load")
    parser.add_argument("--kills", type=int, default=200)
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    told = {
        "load": lambda: load(given.rounds, given.pictures, given.preset),
        "memory": lambda: memory(given.requests),
        "full": full,
        "faults": faults,
        "kills": lambda: kills(given.kills),
    }
    for part in given.parts:
        print(f"\n{part}", flush=True)
        for line in told[part]():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
