"""Damage to a bundle that its hashes do not show."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.fuzz.junk import STRINGS
from benchmarks.fuzz.mutations import damage_bytes, mutate


def damage_bundle(sound: Path, folder: Path, rng: random.Random) -> Path:
    """Make a copy of a bundle, damage one of its files, and write the hashes that fit; the copy."""
    from sise_rt.bundle import MANIFEST, PROBE, WEIGHTS, sha256

    shutil.copytree(sound, folder)
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    name = rng.choice((MANIFEST, WEIGHTS, PROBE, *(n for n in sorted(data["files"]) for _ in "ab")))
    path = folder / name
    if name == MANIFEST:
        damage_json(data, rng)
    elif path.suffix == ".onnx" and rng.random() < 0.8:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:  # a node that reads a weight elsewhere, or past its end
            for entry in tensor.external_data:
                if rng.random() < 0.05:
                    entry.value = rng.choice((*STRINGS, "0", "-1", str(1 << 62), "../in/weights.bin", "17"))
        path.write_bytes(mutate(model, rng))
    elif name == WEIGHTS and rng.random() < 0.5:
        values = np.fromfile(path, np.float32)
        values[rng.randrange(len(values)) :: 7] = rng.choice((np.nan, np.inf, 3e38, 0))
        path.write_bytes(values.tobytes())
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
    if isinstance(data.get("files"), dict):
        for key in data["files"]:
            with contextlib.suppress(Exception):
                data["files"][key] = sha256(folder / key)
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    return folder


def damage_json(data: Any, rng: random.Random) -> None:
    """Replace one value somewhere by junk, or by another of its kind."""
    key = rng.choice(list(data))
    while isinstance(data[key], (dict, list)) and data[key] and rng.random() < 0.85:
        data = data[key]
        key = rng.choice(list(data)) if isinstance(data, dict) else rng.randrange(len(data))
    value = data[key]
    if isinstance(value, int) and rng.random() < 0.7:
        data[key] = rng.choice((0, -1, value + 1, 2 * value, 1 << 31, 1 << 62, 10**40))
    elif isinstance(value, float) and rng.random() < 0.7:
        data[key] = rng.choice((0.0, -value, 1e-300, 1e300, float("nan"), float("inf")))
    else:
        data[key] = rng.choice((None, True, -1, 1e308, 10**400, "../x", "score.onnx", [], {}, [[]], *STRINGS))
