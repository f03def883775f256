"""The rows of the table, and the process that explains for each."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import REPOSITORY, PeerError, environment, last_line
from sise_rt.running.sessions import available_threads

SCRIPTS = Path(__file__).parent / "scripts"
# Their scripts import benchmarks.reference; sise-rt's must find what is installed, not this folder's sise_rt.
WITH_REFERENCE = {"torch-eager", "grad-cam", "captum"}


@dataclass(frozen=True)
class Row:
    """A line of the table: one method of one peer.

    Attributes:
        twin: sise-rt's method that gives the same map.
    """

    peer: str
    method: str
    twin: str = ""


BARE = Row("onnxruntime", "bare")
ROWS = [
    Row("sise-rt", "sise"),
    Row("sise-rt", "sise:mu=0.3"),
    Row("sise-rt", "sise:budget=0.1"),
    Row("torch-eager", "sise", twin="sise"),
    Row("sise-rt", "score-cam"),
    Row("grad-cam", "ScoreCAM"),
    Row("sise-rt", "grad-cam"),
    Row("grad-cam", "GradCAM", twin="grad-cam"),
    Row("sise-rt", "integrated-gradients"),
    Row("captum", "integrated-gradients", twin="integrated-gradients"),
    Row("captum", "occlusion"),
    Row("sise-rt", "rise:masks=1000"),
    Row("dianna", "RISE"),
    Row("openvino-xai", "RISE"),
    Row("openvino-xai", "AISE"),
]


class Worker:
    """A row's process.

    Args:
        row: what it explains with.
        folder: where the environments, the photos and the settings are; maps and logs are written there.

    Attributes:
        ready: seconds from its start until it could explain.
    """

    def __init__(self, row: Row, folder: Path):
        self.row, self.folder = row, folder
        name = f"{row.peer}-{row.method}".replace(":", "-")
        self.log, self.maps = folder / f"{name}.log", folder / f"{name}-map"
        # The bare network needs what sise-rt needs.
        packages = environment("sise-rt" if row == BARE else row.peer, folder)
        variables = {"OMP_NUM_THREADS": str(available_threads()), "PYTHONDONTWRITEBYTECODE": "1"}
        if row.peer in WITH_REFERENCE:
            variables["PYTHONPATH"] = str(REPOSITORY)
        start = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    packages / "bin" / "python",
                    SCRIPTS / "serve.py",
                    f"by_{row.peer.replace('-', '_')}",
                    row.method,
                    folder / "settings.json",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | variables,
            )
        self._read()
        self.ready = time.perf_counter() - start

    def explain(self, photo: int, target: int) -> dict[str, Any]:
        """One explanation, as `scripts/serve.py` answers it; raises PeerError."""
        request = {"photo": str(self.folder / f"photo-{photo}.npy"), "target": target}
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request | {"map": f"{self.maps}-{photo}.npy"}) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise PeerError(self._reason()) from None
        return self._read()

    def cpu_seconds(self) -> float:
        """Processor time that the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(self._reason())
        return json.loads(line)

    def _reason(self) -> str:
        code = self.process.wait()
        return last_line(self.log.read_text()) or f"it ended with status {code}"
