"""One peer in a process of its own, which explains a photo whenever it is told to.

    python serve.py MODULE METHOD SETTINGS

SETTINGS is a JSON file. The first line of standard output says that the peer is ready; after it, each line of
standard input, `{"photo": file, "target": class, "map": file}`, is answered by one. What the peer's packages
print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peer import Count, Explain


def main() -> None:
    """Get ready, then answer until the input ends."""
    module, method, settings = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    count = Count()
    explain = importlib.import_module(module).prepare(method, json.loads(Path(settings).read_text()), count)
    print("{}", file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(explain, count, json.loads(line))), file=answers)


def answer(explain: Explain, count: Count, request: dict[str, Any]) -> dict[str, Any]:
    """Explain one photo; its reading and the map's writing are not timed."""
    picture = np.load(request["photo"])
    count.forward = count.backward = 0
    start = time.perf_counter()
    explanation = explain(picture, request["target"])
    seconds = time.perf_counter() - start
    np.save(request["map"], explanation)
    status = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {
        "seconds": seconds,
        "forward": count.forward,
        "backward": count.backward,
        "peak_mb": peak * 1024 / 1e6,
    }


if __name__ == "__main__":
    main()
