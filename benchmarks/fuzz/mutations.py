"""Ways to make a model invalid, hostile or absurd, drawn from one random source."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import onnx

from benchmarks.fuzz import contents, structure
from benchmarks.fuzz.classifiers import MODELS

# A case is known by its number: another order would make other cases of the same numbers.
MUTATIONS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    structure.absurd_dims,
    structure.stale_shapes,
    structure.change_attribute,
    structure.add_attribute,
    structure.rearrange_nodes,
    structure.rewire,
    structure.rename,
    structure.another_operator,
    contents.versions,
    contents.damage_weight,
    contents.external_data,
    contents.ends,
    contents.properties,
    contents.functions,
    contents.nested,
    contents.hostile_operator,
)


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """The file with bytes flipped, lost, put in or cut off."""
    changed = bytearray(data)
    if rng.random() < 0.2:
        return bytes(changed[: rng.randrange(len(changed))])
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        # Most of a file is weights; structure is at its ends, and where text is.
        texts = [i for i in range(0, len(changed), 7) if 48 < changed[i] < 123]
        where = rng.choice((rng.randrange(len(changed)), rng.choice(texts), -rng.randrange(1, 200)))
        kind = rng.random()
        if kind < 0.5:
            changed[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind < 0.7:
            del changed[where]
        elif kind < 0.9:
            changed[where:where] = rng.choice((b"\xff" * 9, b"\0", bytes([rng.randrange(256)])))
        else:
            changed[where:where] = changed[where : where + rng.randrange(1, 400)]
    return bytes(changed)


def mutate(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """The serialised model after one or a few changes."""
    if rng.random() < 0.15:
        return damage_bytes(model.SerializeToString(), rng)
    weights = [4 if function is contents.hostile_operator else 1 for function in MUTATIONS]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            rng.choices(MUTATIONS, weights)[0](model, rng)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue  # the change before has left nothing to change, or protobuf itself refuses the value
    return model.SerializeToString()


def write_case(folder: Path, case: int, seed: int) -> Path:
    """Write a mutated model, and the files its external data may point at, inside and outside its folder."""
    rng = random.Random(f"{seed}/{case}")
    inner = folder / "in"
    inner.mkdir(parents=True)
    (folder / "outside.bin").write_bytes(bytes(1 << 14))
    (inner / "inside.bin").write_bytes(bytes(1 << 14))
    (inner / "link.bin").symlink_to("../outside.bin")
    os.mkfifo(inner / "pipe.bin")
    path = inner / "model.onnx"
    path.write_bytes(mutate(rng.choice(MODELS)(), rng))
    return path
