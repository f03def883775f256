"""Draw `docs/pictures.jpg`: 12 kinds of pictures, each as it was drawn before and as it is drawn.

All of them are made here, by `examples/surface`, and explained by the built-in model.

Usage: python docs/pictures.py docs/pictures.jpg
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

import sise_rt
from sise_rt.drawing.lettering import write
from sise_rt.drawing.painting import overlay
from sise_rt.pictures.placement import to_original

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from examples.surface.generate import CLASSES, generate  # noqa: E402

BEFORE, AFTER, HIGH, TEXT, GAP = 300, 520, 620, 18, 16  # pixels
COLUMNS = 3


@dataclass(frozen=True)
class Kind:
    """A picture, and the class that is explained: the model's own decision if None."""

    name: str
    pixels: np.ndarray
    target: str | None = None


def surface(label: str, seed: int, size: int = 160) -> np.ndarray:
    """A generated surface, uint8 RGB."""
    return generate(np.random.default_rng(seed), label, size)[0]


def kinds() -> Iterator[Kind]:
    """The 12 pictures."""
    demo = cv2.imread(str(ROOT / "sise_rt/demo/surface.png"))[..., ::-1]
    yield Kind("small: 160 x 160, the demo", demo)
    yield Kind("tiny: 40 x 40", cv2.resize(surface("pit", 21), (40, 40), interpolation=cv2.INTER_AREA))
    yield Kind("large: 1200 x 1200", surface("scratch", 3, 1200))
    grey = cv2.cvtColor(surface("inclusion", 5, 320), cv2.COLOR_RGB2GRAY)
    yield Kind("grey", np.repeat(grey[..., None], 3, axis=2))
    sides = [surface("normal", seed, 240) for seed in (8, 9)]
    above, below = surface("normal", 8), sides[1][:80, :160]
    yield Kind("wide: 720 x 240", np.hstack([sides[0], surface("scratch", 7, 240), sides[1]]))
    yield Kind("high: 160 x 400", np.vstack([above, surface("patch", 11), below]))
    yield Kind("light", np.rint(255 - (255 - surface("pit", 13, 320).astype(float)) * 0.35).astype(np.uint8))
    yield Kind("dark", np.rint(surface("scratch", 16, 320) * 0.2).astype(np.uint8))
    yield Kind("flat: 600 x 60", surface("scratch", 19, 600)[270:330])
    yield Kind("of a colour", np.clip(surface("patch", 23, 320) * (1.3, 1.05, 0.5), 0, 255).astype(np.uint8))
    yield Kind("not the decision", surface("inclusion", 27, 320), "scratch")
    yield Kind("without a defect", surface("normal", 31, 320))


def before(explanation: sise_rt.Explanation) -> np.ndarray:
    """The overlay as it was: in the picture's own size, every contour on top of what it goes around."""
    placed, seen = to_original(explanation.map, explanation.placement)
    painted = overlay(explanation.pixels(), placed, seen)
    if min(painted.shape[:2]) >= 96:
        inside = ((placed >= 0.5) & seen).astype(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_TC89_KCOS)
        thin = max(1, round(min(inside.shape) / 500))
        for colour, thickness in (((40,) * 3, thin + max(2, thin // 2)), ((255,) * 3, thin)):
            cv2.drawContours(painted, lines, -1, colour, thickness, cv2.LINE_AA)
    return painted


def cell(kind: Kind, explanation: sise_rt.Explanation) -> Image.Image:
    """A kind by its name, before and after, both reduced alike."""
    after = cv2.imdecode(np.frombuffer(explanation.png(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    made = Image.new("RGB", (BEFORE + AFTER + 3 * GAP, HIGH + TEXT + 3 * GAP), (225, 225, 225))
    write(made, f"{kind.name}: before", GAP, GAP // 2, BEFORE, TEXT)
    write(made, "after", 2 * GAP + BEFORE, GAP // 2, AFTER, TEXT)
    scale = min(1, AFTER / after.shape[1], HIGH / after.shape[0])
    for pixels, left, width in ((before(explanation), GAP, BEFORE), (after, 2 * GAP + BEFORE, AFTER)):
        by = min(scale, width / pixels.shape[1], HIGH / pixels.shape[0])
        size = max(1, round(by * pixels.shape[1])), max(1, round(by * pixels.shape[0]))
        image = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.LANCZOS)
        made.paste(image, (left, TEXT + GAP))
    return made


def main() -> None:
    """Write the sheet."""
    explainer = sise_rt.load(ROOT / "sise_rt/demo/surface.sise", "cpu")
    assert explainer.manifest.labels == CLASSES
    cells = [cell(kind, explainer.explain(kind.pixels, kind.target)) for kind in kinds()]
    width, height = cells[0].size
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), (225, 225, 225))
    for index, each in enumerate(cells):
        row, column = divmod(index, COLUMNS)
        sheet.paste(each, (column * width, row * height))
        ImageDraw.Draw(sheet).rectangle(
            (column * width, row * height, (column + 1) * width, (row + 1) * height), outline=(255, 255, 255)
        )
    sheet.save(sys.argv[1], quality=85)


if __name__ == "__main__":
    main()
