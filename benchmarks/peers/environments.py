"""A virtual environment for every peer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PINNED = ["-c", str(REPOSITORY / "constraints.txt")]
PACKAGES = {
    "sise-rt": [f"{REPOSITORY}[cpu]"],
    "torch-eager": ["torch", "torchvision", "numpy", *PINNED],
    "grad-cam": ["grad-cam", "torch", "torchvision", *PINNED],
    "captum": ["captum", "torch", "torchvision", *PINNED],
    "dianna": ["dianna", "torch", *PINNED],
    "openvino-xai": ["openvino-xai"],  # it wants an older numpy
}
REPORTED = {
    "sise-rt",
    "torch",
    "grad-cam",
    "captum",
    "dianna",
    "openvino-xai",
    "openvino",
    "onnxruntime",
    "numpy",
}


class PeerError(Exception):
    """A peer cannot be installed or run."""


def environment(peer: str, folder: Path) -> Path:
    """Where a peer's packages are."""
    return folder / f"env-{peer}"


def install(peer: str, folder: Path) -> None:
    """Make a peer's environment, unless it is there; sise-rt is installed anew each time."""
    target = environment(peer, folder)
    done = target / "installed"
    if peer != "sise-rt" and done.exists():
        return
    python = ["--python", str(target / "bin" / "python")]
    make = [sys.executable, "-m", "venv", "--without-pip", str(target)]
    fill = [sys.executable, "-m", "pip", *python, "install", "--upgrade", "-q", *PACKAGES[peer]]
    for command in [fill] if target.exists() else [make, fill]:
        print(*command, file=sys.stderr, flush=True)
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise PeerError(f"not installed: {last_line(ended.stderr)}")
    done.touch()


def installed(peer: str, folder: Path) -> dict[str, Any]:
    """The size of a peer's packages on disk, and the versions of those that matter."""
    (packages,) = environment(peer, folder).glob("lib/python*/site-packages")
    size = subprocess.run(["du", "-sm", packages], capture_output=True, text=True, check=True).stdout
    pip = [sys.executable, "-m", "pip", "list", "--format=json", "--path", str(packages)]
    listed = json.loads(subprocess.run(pip, capture_output=True, text=True, check=True).stdout)
    named = {item["name"].lower().replace("_", "-"): item["version"] for item in listed}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(named.items()) if name in REPORTED)
    return {"mb": int(size.split()[0]), "versions": versions}


def last_line(text: str) -> str:
    """The last line that a program wrote, where it says what was wrong; empty if it wrote none."""
    return (text.strip().splitlines() or [""])[-1]
