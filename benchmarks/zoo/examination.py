"""One model of the zoo: its export, compared with torch autograd.

    python -m benchmarks.zoo.examination SOURCE

prints the model's record as a JSON line.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from sise_rt.export import export
from sise_rt.export.gradients.path import gradient_path
from sise_rt.export.proof import parity

from benchmarks.zoo.networks import build, pictures
from benchmarks.zoo.results import Record
from sise_rt.bundle import PROBE
from sise_rt.errors import ParityError, SiseError
from sise_rt.manifest import GraphPaths, Manifest
from sise_rt.running.verify import failures


def examine(source: str) -> Record:
    """Export one model in this process and compare it with torch autograd."""
    # The gate would keep the numbers of a bundle that it refuses; the same tolerances are applied below.
    tolerances = dict(parity.EXPORT_TOLERANCES)
    parity.EXPORT_TOLERANCES.update(dict.fromkeys(tolerances, math.inf))
    start = time.perf_counter()
    model, size = build(source)
    record: Record = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "input": list(size),
        "build_seconds": round(time.perf_counter() - start, 1),
    }
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
        bundle = Path(folder) / "zoo.sise"
        start = time.perf_counter()
        try:
            report = export(model, bundle, example=pictures(size), activation="softmax")
        except ParityError as error:  # an error that is no number is above any tolerance
            record |= {"verdict": "failed", "reason": str(error)}
        except SiseError as error:
            record |= {"verdict": "refused", "reason": str(error)}
        except Exception as error:
            line = next(iter(str(error).splitlines()), "")
            record |= {"verdict": "failed", "reason": f"{type(error).__name__}: {line}"}
        else:
            record |= _measured(bundle, report.manifest, tolerances)
        record["export_seconds"] = round(time.perf_counter() - start, 1)
    return record


def _measured(bundle: Path, manifest: Manifest, tolerances: dict[str, float]) -> Record:
    """What the export measured of a bundle, and the verdict on it."""
    count, measured = len(manifest.blocks), manifest.parity
    with np.load(bundle / PROBE, allow_pickle=False) as probe:
        scales = [float(np.abs(probe[f"alpha_{i}"]).max()) for i in range(1, count + 1)]
    compared = measured.compared.alpha
    if reasons := failures(measured.errors, tolerances):
        verdict = {"verdict": "failed", "reason": "; ".join(reasons)}
    elif not all(scales):
        verdict = {"verdict": "failed", "reason": "a block's reference gradient is zero: nothing is compared"}
    elif compared < count:
        verdict = {
            "verdict": "unchecked",
            "reason": f"alpha compared for {compared} of {count} blocks only ({measured.reference})",
        }
    else:
        verdict = {"verdict": "ok", "reason": ""}
    return verdict | {
        "blocks": [[block.channels, block.height, block.width] for block in manifest.blocks],
        "operators": path_operators(bundle, manifest.graphs),
        "errors": measured.errors,
        "compared": compared,
        "reference": measured.reference,
        "alpha_scales": scales,
    }


def path_operators(bundle: Path, graphs: GraphPaths) -> list[str]:
    """The operators between the first block's output and the logits through which a gradient flows."""
    operators: set[str] = set()
    for name in (*graphs.blocks[1:], graphs.classifier):
        graph = onnx.load(bundle / name, load_external_data=False).graph
        weights = {w.name for w in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in weights]
        path = gradient_path(graph.node, [value.name for value in graph.output], inputs)
        operators |= {n.op_type for n in graph.node if path & set(n.input) and path & set(n.output)}
    return sorted(operators)


if __name__ == "__main__":
    print(json.dumps(examine(sys.argv[1])), flush=True)
