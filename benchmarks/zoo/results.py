"""The records of the models, one JSON line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""A model's `source`, `section`, `verdict`, `reason`, `seconds`, `date`, `versions`, `cores`, and what
`examine` measured as far as it came."""


def read_results(path: Path) -> dict[str, Record]:
    """The latest record of each source; a last line that was cut off does not count."""
    latest: dict[str, Record] = {}
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            record = json.loads(text)
        except ValueError:
            continue
        latest.pop(record["source"], None)
        latest[record["source"]] = record
    return latest
