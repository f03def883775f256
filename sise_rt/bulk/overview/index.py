"""What the first page knows of every line, so that its filters work over all pages: small values."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sise_rt.report.elements import readable

from .rows import Row

MOST = 200_000  # lines that are in it: with more the page would take longer to open than anybody waits
TRUTHS = {True: "right", False: "wrong", None: ""}


class Index:
    """The columns, filled row by row.

    Attributes:
        left_out: lines that came when it was full, which are on the pages and not found by the filters.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._names: dict[str, dict[str, int]] = {name: {} for name in ("classes", "codes", "statuses")}
        self._columns: dict[str, list[Any]] = {
            name: []
            for name in ("id", "status", "target", "predicted", "confidence", "border", "warnings", "truth")
        }
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("status", "target", "predicted", "warnings", "truth")
        }

    def add(self, row: Row) -> None:
        """Add a line, if there is room."""
        if len(self._columns["id"]) >= MOST:
            self.left_out += 1
            return
        cells = {
            "id": row.id,
            "status": self._number("statuses", row.status),
            "target": self._number("classes", row.target),
            "predicted": self._number("classes", row.predicted),
            "confidence": None if row.confidence is None else round(row.confidence, 4),
            "border": None if row.border is None else round(row.border, 4),
            "warnings": [self._number("codes", code) for code in row.warnings],
            "truth": TRUTHS[row.right],
        }
        for name, cell in cells.items():
            self._columns[name].append(cell)
        self._counts["warnings"].update(row.warnings)
        for name in ("status", "target", "predicted"):
            self._counts[name].update(filter(None, [getattr(row, name)]))
        self._counts["truth"].update(filter(None, [TRUTHS[row.right]]))

    def _number(self, kind: str, name: str) -> int:
        """The number of a name among those of its kind; -1 for none."""
        names = self._names[kind]
        return names.setdefault(name, len(names)) if name else -1

    def choices(self, column: str) -> list[tuple[str, str, int]]:
        """What a column can be chosen by: value, name and number of lines, the commonest first."""
        kind = {"status": "statuses", "warnings": "codes", "truth": ""}.get(column, "classes")
        numbers = self._names.get(kind, {})
        return [
            (str(numbers.get(name, name)), name, count) for name, count in self._counts[column].most_common()
        ]

    def to_json(self, page: int, token: str) -> str:
        """All of it, in ASCII.

        Args:
            page: lines on a page.
            token: by which the pages know the first one.
        """
        names = {kind: list(map(readable, names)) for kind, names in self._names.items()}
        columns = self._columns | {"id": list(map(readable, self._columns["id"]))}
        content = {"page": page, "token": token, **names, "columns": columns}
        return json.dumps(content, separators=(",", ":"))
