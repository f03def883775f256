"""A single file in OpenVINO's own runtime, on its CPU in float32, against ONNX Runtime's CPU provider.

    python -m benchmarks.by_openvino explain.onnx photo.jpg... [--masks 50]

The file has to be exported --single-file --required-inputs, without --with-preprocessing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image
from sise_rt.running.one_graph import open_single_file


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line a picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--masks", type=int, default=50, help="that are scored at most (default %(default)s)")
    given = parser.parse_args(argv)
    import openvino

    single = open_single_file(given.model)
    other = openvino.Core().compile_model(given.model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    settings = {"target": np.array(-1), "mu": np.array(0, np.float32), "max_masks": np.array(given.masks)}
    print(f"{'picture':24} class (theirs)  masks alike  logits, relative  visualization maps  explanation")
    for picture in given.pictures:
        image, _ = preprocess(load_image(picture), single.facts.preprocessing)
        own, theirs = single.explain(image, max_masks=given.masks), other({"image": image, **settings})
        logits = np.abs(own.logits - theirs["logits"]).max() / np.abs(own.logits).max()
        maps = np.abs(own.visualization_maps - theirs["visualization_maps"]).max()
        off = np.abs(own.map - theirs["explanation"]).max()
        alike = (own.kept == theirs["kept"]).all() and (own.used == theirs["used"]).all()
        classes = f"{own.target} ({int(theirs['class'])})"
        print(f"{picture.name:24} {classes:14}  {alike!s:11}  {logits:16.1e}  {maps:18.1e}  {off:11.1e}")


if __name__ == "__main__":
    main()
