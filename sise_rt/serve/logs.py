"""The log: one line of JSON for each thing that happens, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time

OURS = ("sise_rt.serve", "uvicorn.error")
KEYS = ("id", "model", "client", "method", "route", "status", "seconds")


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON in one line, without control characters."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        told["event"] = record.getMessage()
        told |= {key: getattr(record, key) for key in KEYS if getattr(record, key, None) is not None}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


def log_lines() -> None:
    """Write the server's log to standard error, and nothing else of the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == OURS[0] else logging.WARNING)
