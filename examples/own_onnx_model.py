"""Your own ONNX file, whatever framework wrote it: look at it, export it, explain.

    python examples/own_onnx_model.py model.onnx picture.jpg --target 3

Preprocessing is not part of an ONNX file: say what your service does to a picture before it runs the model.
"""

from __future__ import annotations

from pathlib import Path

import click
from sise_rt.export import export
from sise_rt.export.examine import examine

import sise_rt


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--target", help="Class index or label; the predicted class by default.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default="own_onnx_model", show_default=True)
def main(model: Path, picture: Path, target: str | None, out: Path) -> None:
    """Examine and export MODEL, then explain PICTURE."""
    found = examine(model)
    for block in found.blocks:
        print(f"{block.name}: {block.channels} maps of {block.height}x{block.width} at {block.tensor}")
    if found.refusals:
        raise SystemExit("\n".join(found.refusals))
    report = export(
        model,
        out / f"{model.stem}.sise",
        preprocess={
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "scale": 255.0,
            "color": "RGB",
        },
        overwrite=True,
    )
    explanation = sise_rt.load(report.path).explain(picture, target)
    print(f"{explanation.heading()}, {explanation.masks} masks scored")
    print(*explanation.save(out, picture, blocks=True), sep="\n")


if __name__ == "__main__":
    main()
