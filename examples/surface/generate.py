"""Generate textured metal surfaces with a pixel mask of every defect.

Each picture is drawn at twice its size as a height map, a colour map and a lighting map, lit from one
side, and reduced. Surface, distractors and sensor noise come from one random stream and the defect
from another, so the same seed gives the same surface under every label.

Usage: python examples/surface/generate.py DIR --count 20 --seed 1
"""

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("normal", "scratch", "pit", "inclusion", "patch")
SIZE = 160  # pixels; all lengths below are in pixels of a picture of this size
OVERSAMPLING = 2
MIN_CHANGE = 20  # grey levels by which a defect must change its own pixels on average, and
MIN_CONTRAST = 0.2  # the share of their brightness that this must be; else it is drawn again

METALS = {  # reflectance, RGB
    "steel": (0.52, 0.54, 0.57),
    "aluminium": (0.64, 0.65, 0.66),
    "iron": (0.36, 0.36, 0.38),
    "brass": (0.62, 0.55, 0.41),
    "bronze": (0.55, 0.45, 0.39),
    "blued steel": (0.39, 0.44, 0.51),
}
INKS = ((0.08, 0.10, 0.30), (0.07, 0.07, 0.08), (0.48, 0.08, 0.07), (0.88, 0.88, 0.84), (0.06, 0.25, 0.16))


@dataclass
class Scene:
    """A surface before it is lit; arrays are oversampled, S x S or S x S x 3, float32.

    Attributes:
        unit: Array pixels per pixel of a SIZE picture; every length is multiplied by it.
        grain: Direction of the surface's texture, radians.
        light: Direction the light comes from, radians.
        height: Relief, in array pixels (a slope of 1 is 45 degrees).
        tone: Factor of the texture on the brightness, around 1.
        colour: Reflectance, 0..1.
        gain: Lighting, around 1.
        glare: Reflected light, added, 0..1.
        noise: Sensor noise at the final size, H x W x 3, around 0.
    """

    unit: float
    grain: float
    light: float
    height: np.ndarray
    tone: np.ndarray
    colour: np.ndarray
    gain: np.ndarray
    glare: np.ndarray
    noise: np.ndarray


def smooth_noise(rng: np.random.Generator, side: int, cell: float) -> np.ndarray:
    """Isotropic noise (side x side, zero mean, unit deviation) with features of `cell` array pixels."""
    return streaks(rng, side, cell, cell, 0.0)


def streaks(rng: np.random.Generator, side: int, length: float, width: float, angle: float) -> np.ndarray:
    """Noise stretched along a direction.

    Args:
        rng: Random stream.
        side: Side of the result, array pixels.
        length: Feature size along the direction, array pixels.
        width: Feature size across it, array pixels.
        angle: Direction, radians.

    Returns:
        side x side, float32, zero mean, unit deviation.
    """
    reach = side if angle == 0 else 1.45 * side
    shape = int(reach / max(width, 1)) + 3, int(reach / max(length, 1)) + 3
    field = rng.standard_normal(shape, dtype=np.float32)
    turn = cv2.getRotationMatrix2D((0, 0), float(np.degrees(angle)), 1.0)
    scale = np.diag([max(length, 1), max(width, 1), 1.0])
    centred = np.eye(3)
    centred[:2, 2] = -(shape[1] - 1) / 2, -(shape[0] - 1) / 2
    matrix = turn[:, :2] @ (scale @ centred)[:2]
    matrix[:, 2] += side / 2
    field = cv2.warpAffine(field, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return (field - field.mean()) / (field.std() + 1e-6)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by `sigma` array pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def axes(scene: Scene, centre: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (S x S each, in pixels of a SIZE picture) along and across a direction from a point."""
    side = scene.height.shape[0]
    steps = np.arange(side, dtype=np.float32) / scene.unit
    x, y = steps[None, :], steps[:, None]
    x, y = x - float(centre[0]), y - float(centre[1])
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def paint(scene: Scene, alpha: np.ndarray, colour: np.ndarray | tuple[float, ...]) -> None:
    """Cover the surface with a colour (3 numbers or S x S x 3, 0..1) by `alpha` (S x S, 0..1)."""
    scene.colour += alpha[..., None] * (np.asarray(colour, np.float32) - scene.colour)


# Surfaces


def make_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a defect-free surface of `size` x `size` pixels with its lighting and distractors."""
    side = OVERSAMPLING * size
    u = side / SIZE
    grain = rng.uniform(0, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.06)
    metal = np.float32(list(METALS.values()))[rng.integers(len(METALS))] * np.float32(rng.uniform(0.85, 1.15))
    ones = np.ones((side, side), np.float32)
    scene = Scene(
        unit=u, grain=grain, light=rng.uniform(0, 2 * np.pi), height=0 * ones, tone=ones.copy(),
        colour=ones[..., None] * metal, gain=ones.copy(), glare=0 * ones,
        noise=rng.standard_normal((size, size, 3), dtype=np.float32) * np.float32(rng.uniform(0.004, 0.012)),
    )  # fmt: skip
    FINISHES[rng.integers(len(FINISHES))](rng, scene)
    scene.tone *= 1 + 0.025 * smooth_noise(rng, side, 45 * u)
    along, across = axes(scene, rng.uniform(0.2, 0.8, 2) * SIZE, rng.uniform(0, 2 * np.pi))
    scene.gain *= 1 + rng.uniform(0.05, 0.3) * along / SIZE
    scene.gain *= 1.08 - rng.uniform(0.1, 0.5) * (along**2 + across**2) / SIZE**2
    for draw in rng.permutation(DISTRACTORS)[: rng.choice(4, p=(0.1, 0.4, 0.35, 0.15))]:
        draw(rng, scene)
    return scene


def brushed(rng: np.random.Generator, scene: Scene) -> None:
    """Fine parallel lines of many lengths."""
    side, u = scene.height.shape[0], scene.unit
    lines = sum(w * streaks(rng, side, n * u, k * u, scene.grain) for w, n, k in BRUSHES)
    scene.tone *= 1 + rng.uniform(0.03, 0.075) * lines


BRUSHES = ((0.6, 90, 0.5), (0.6, 35, 0.8), (0.5, 200, 2.5))  # weight, length, width


def rolled(rng: np.random.Generator, scene: Scene) -> None:
    """Broad bands along the rolling direction, short marks and a fine grain."""
    side, u = scene.height.shape[0], scene.unit
    scene.tone *= 1 + rng.uniform(0.01, 0.04) * streaks(rng, side, 400 * u, 9 * u, scene.grain)
    scene.tone *= 1 + rng.uniform(0.02, 0.05) * streaks(rng, side, 9 * u, 0.9 * u, scene.grain)
    scene.tone *= 1 + rng.uniform(0.02, 0.04) * smooth_noise(rng, side, 0.5 * u)


def cast(rng: np.random.Generator, scene: Scene) -> None:
    """A grainy relief, as left by a sand mould."""
    side, u = scene.height.shape[0], scene.unit
    relief = 0.45 * smooth_noise(rng, side, 2.2 * u) + 0.7 * smooth_noise(rng, side, 5 * u)
    scene.height += rng.uniform(0.09, 0.2) * u * relief
    scene.tone *= 1 + 0.03 * smooth_noise(rng, side, 0.8 * u) + 0.03 * smooth_noise(rng, side, 14 * u)


def milled(rng: np.random.Generator, scene: Scene) -> None:
    """Concentric arcs of a cutter."""
    side, u = scene.height.shape[0], scene.unit
    away = np.array((-math.sin(scene.grain), math.cos(scene.grain)))
    x, y = axes(scene, SIZE / 2 + rng.uniform(0.9, 2.2) * SIZE * away, 0.0)
    radius = np.hypot(x, y)
    feed = rng.uniform(2.5, 6)
    knots = rng.standard_normal(2000)
    arcs = 0.6 * np.sin(2 * np.pi * radius / feed) + np.interp(radius * 1.3, np.arange(2000), knots)
    scene.tone *= 1 + rng.uniform(0.025, 0.055) * arcs.astype(np.float32)
    scene.tone *= 1 + 0.02 * smooth_noise(rng, side, 0.5 * u)


FINISHES = (brushed, rolled, cast, milled)


# Distractors: harmless, and equally frequent in every class


def stain(rng: np.random.Generator, scene: Scene) -> None:
    """A faint dried drop: no sharp edge, a slightly darker rim."""
    along, across = axes(scene, rng.uniform(0.1, 0.9, 2) * SIZE, rng.uniform(0, np.pi))
    wobble = 0.18 * smooth_noise(rng, scene.height.shape[0], 18 * scene.unit)
    distance = np.hypot(along, across * rng.uniform(1, 1.6)) / rng.uniform(12, 34) + wobble
    inside = 0.5 - 0.5 * np.tanh(4.5 * (distance - 1))
    rim = np.exp(-(((distance - 0.95) / 0.13) ** 2))
    tint = 1 - np.float32((0.3, 0.0, -0.3)) * np.float32(rng.random())
    alpha = rng.uniform(0.07, 0.15) * inside + rng.uniform(0, 0.06) * rim
    scene.colour *= 1 - alpha[..., None] * tint


def reflection(rng: np.random.Generator, scene: Scene) -> None:
    """A soft highlight of a lamp, stretched across the grain."""
    angle = scene.grain + np.pi / 2 + rng.normal(0, 0.3)
    along, across = axes(scene, rng.uniform(0.05, 0.95, 2) * SIZE, angle)
    spot = np.exp(-((along / rng.uniform(25, 70)) ** 2) - (across / rng.uniform(7, 16)) ** 2)
    scene.glare += rng.uniform(0.12, 0.3) * spot * scene.tone


def printed_mark(rng: np.random.Generator, scene: Scene) -> None:
    """Worn ink: a lot number, a marker line or a square code."""
    side, u = scene.height.shape[0], scene.unit
    ink = np.zeros((side, side), np.uint8)
    middle = (side / 2, side / 2)
    kind = rng.integers(3)
    if kind == 0:
        text = "".join(rng.choice(list("ABCDEFHKLMNPRSTX0123456789-"), rng.integers(2, 6)))
        font, scale = cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.32, 0.5) * u
        (w, h), _ = cv2.getTextSize(text, font, scale, round(u))
        origin = round(middle[0] - w / 2), round(middle[1] + h / 2)
        cv2.putText(ink, text, origin, font, scale, 255, round(rng.uniform(1, 1.6) * u), cv2.LINE_AA)
        reach = w / u / 2
    elif kind == 1:
        reach = rng.uniform(10, 32)
        for row in range(rng.integers(1, 3)):
            y = round(middle[1] + 6 * row * u)
            ends = (round(middle[0] - reach * u), y), (round(middle[0] + reach * u), y)
            cv2.line(ink, *ends, 255, round(rng.uniform(2, 3) * u), cv2.LINE_AA)
    else:
        cells, pitch = rng.integers(5, 9), round(rng.uniform(1.6, 2.4) * u)
        code = np.where(rng.random((cells, cells)) < 0.5, 255, 0).astype(np.uint8)
        code[:, 0] = code[-1] = 255
        code = cv2.resize(code, None, fx=pitch, fy=pitch, interpolation=cv2.INTER_NEAREST)
        start = side // 2 - len(code) // 2
        ink[start : start + len(code), start : start + len(code)] = code
        reach = len(code) / u / 2
    matrix = cv2.getRotationMatrix2D(middle, rng.choice((0, 0, 90, rng.uniform(-30, 30))), 1.0)
    low = min(reach + 6, SIZE / 2)
    matrix[:, 2] += (rng.uniform(low, SIZE - low, 2) - SIZE / 2) * u
    ink = cv2.warpAffine(ink, matrix, (side, side)).astype(np.float32) / 255
    wear = np.clip(0.9 + 0.2 * smooth_noise(rng, side, 2 * u), 0, 1)
    paint(scene, rng.uniform(0.45, 0.85) * blur(ink, 0.3 * u) * wear, INKS[rng.integers(len(INKS))])


def weld_shadow(rng: np.random.Generator, scene: Scene) -> None:
    """The soft shadow of a seam that runs through the whole picture."""
    along, across = axes(scene, rng.uniform(0.1, 0.9, 2) * SIZE, rng.uniform(0, np.pi))
    across = across + 3 * np.sin(along / rng.uniform(25, 60))
    width = rng.uniform(7, 16)
    scene.gain *= 1 - rng.uniform(0.12, 0.28) * np.exp(-((across / width) ** 2))
    ripple = 1 + 0.5 * np.sin(along * rng.uniform(0.7, 1.1) + (across / width) ** 2)
    scene.gain *= 1 + rng.uniform(0.03, 0.1) * ripple * np.exp(-(((across - width) / (0.6 * width)) ** 2))


DISTRACTORS = [stain, reflection, printed_mark, weld_shadow]


# Defects: each changes the scene and returns where (S x S, float32, 0..1)


def scratch(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A thin groove across the grain with a bright or dark bottom and raised edges."""
    side, u = scene.height.shape[0], scene.unit
    length = rng.uniform(28, 110)
    angle = scene.grain + rng.uniform(0.35, np.pi - 0.35) + np.pi * rng.integers(2)
    heading = np.array((np.cos(angle), np.sin(angle)))
    side_step = np.array((-heading[1], heading[0]))
    t = np.linspace(-0.5, 0.5, 64)
    bend, sway = rng.normal(0, 0.07, 2) * length
    offset = bend * (4 * t**2 - 0.5) + sway * np.sin(2 * np.pi * t) * 0.4
    path = rng.uniform(0.22, 0.78, 2) * SIZE + length * t[:, None] * heading + offset[:, None] * side_step
    width = rng.uniform(1.2, 2.4) * np.clip(4 * (0.5 - np.abs(t)), 0.3, 1)
    width = width * (1 + 0.25 * np.interp(np.arange(64), np.arange(0, 72, 8), rng.standard_normal(9)))
    groove = np.zeros((side, side), np.uint8)
    tracks = [(0.0, slice(None))]
    if rng.random() < 0.35:
        shift = rng.uniform(2.5, 5) * rng.choice((-1, 1))
        tracks.append((shift, slice(rng.integers(24), rng.integers(40, 64))))
    for shift, part in tracks:
        points = np.round(16 * u * (path + shift * side_step)[part]).astype(int)
        for a, b, w in zip(points[:-1], points[1:], width[part], strict=False):
            cv2.line(groove, a.tolist(), b.tolist(), 255, max(1, round(w * u)), cv2.LINE_AA, 4)
    groove = groove.astype(np.float32) / 255
    soft = blur(groove, 0.4 * u)
    scene.height -= rng.uniform(0.5, 1.0) * u * (soft - 0.8 * blur(groove, 1.1 * u))
    shine = rng.uniform(0.75, 0.95) if rng.random() < 0.6 else rng.uniform(0.1, 0.25)
    paint(scene, rng.uniform(0.55, 0.9) * soft, scene.colour.mean(axis=(0, 1)) * 0.3 + shine * 0.7)
    return np.clip(blur(groove, 0.6 * u) * 1.3, 0, 1)


def pit(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """One round cavity or a small group of them, dark with one lit edge."""
    u = scene.unit
    count = rng.choice((1, 2, 3, 5), p=(0.45, 0.25, 0.2, 0.1))
    largest = rng.uniform(3.5, 10) if count == 1 else rng.uniform(3, 6)
    centre = rng.uniform(0.12, 0.88, 2) * SIZE
    where = np.zeros_like(scene.height)
    for index in range(count):
        radius = largest * (1 if index == 0 else rng.uniform(0.5, 0.9))
        spot = centre + (0 if index == 0 else rng.normal(0, 1.9 * largest, 2))
        x, y = axes(scene, np.clip(spot, 6, SIZE - 6), rng.uniform(0, np.pi))
        turn = np.arctan2(y, x)
        distance = np.hypot(x, y) / (radius * (1 + 0.1 * np.cos(2 * turn) + 0.06 * np.cos(3 * turn + index)))
        where = np.maximum(where, np.clip((1 - distance) * radius * u + 0.5, 0, 1))
        scene.height -= rng.uniform(0.35, 0.6) * radius * u * np.clip(1 - distance**2, 0, 1)
    dark = blur(where, 0.4 * u)
    rough = 1 + 0.2 * smooth_noise(rng, len(where), 1.2 * u)
    rust = np.float32((1.1, 0.95, 0.8) if rng.random() < 0.4 else (1, 1, 1))
    paint(scene, rng.uniform(0.6, 0.85) * dark, scene.colour * (0.38 * rough[..., None] * rust))
    scene.tone += dark * 0.7 * (1 - scene.tone)
    return where


def inclusion(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Dull dark slag, drawn out along the grain into a ragged streak, sometimes broken up."""
    side, u = scene.height.shape[0], scene.unit
    half_width = rng.uniform(2.2, 5.4)
    half_length = half_width * rng.uniform(3.4, 6.5)
    angle = scene.grain + rng.normal(0, 0.08)
    along, across = axes(scene, rng.uniform(0.17, 0.83, 2) * SIZE, angle)
    ragged = 0.13 * streaks(rng, side, 6 * u, 1.2 * u, angle) + 0.3 * streaks(rng, side, 12 * u, 3 * u, angle)
    field = 1 - np.abs(along / half_length) ** 2.5 - (across / half_width) ** 2 + ragged
    reach = (np.abs(along) < 1.25 * half_length) & (np.abs(across) < 1.7 * half_width)
    where = np.clip(field * half_width * u * 0.6, 0, 1) * reach
    tint = np.float32((1, 1, 1) if rng.random() < 0.5 else (1.15, 0.95, 0.8))
    shade = rng.uniform(0.3, 0.5) * scene.colour.mean(axis=(0, 1)) * tint
    mottle = 1 + 0.22 * streaks(rng, side, 6 * u, 1.5 * u, angle)
    soft = blur(where, 0.4 * u)
    paint(scene, rng.uniform(0.75, 0.95) * soft, shade * mottle[..., None])
    scene.height += soft * 0.1 * u * smooth_noise(rng, side, 2 * u)
    return where


def patch(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A flat area of scale or bare metal with a sharp, irregular border."""
    side, u = scene.height.shape[0], scene.unit
    radius = rng.uniform(11, 30)
    along, across = axes(scene, rng.uniform(0.18, 0.82, 2) * SIZE, rng.uniform(0, np.pi))
    distance = np.hypot(along, across * rng.uniform(1, 1.5)) / radius
    border = 0.26 * smooth_noise(rng, side, 0.55 * radius * u) + 0.09 * smooth_noise(rng, side, 3 * u)
    where = np.clip((1 - distance**1.5 + border) * radius * u * 0.4, 0, 1) * (distance < 1.45)
    soft = blur(where, 0.35 * u)
    level = rng.uniform(0.45, 0.72) if rng.random() < 0.6 else rng.uniform(1.3, 1.55)
    tint = np.float32(((1, 1, 1), (1.1, 0.98, 0.86), (0.93, 1, 1.08))[rng.integers(3)])
    flakes = 1 + 0.05 * smooth_noise(rng, side, 2.5 * u) + 0.06 * smooth_noise(rng, side, 8 * u)
    bare = scene.colour.mean(axis=(0, 1)) * tint * level
    paint(scene, soft * rng.uniform(0.8, 1), bare * flakes[..., None])
    scene.tone += soft * rng.uniform(0, 0.7) * (1 - scene.tone)
    scene.height += (1 if level > 1 else -1) * rng.uniform(0.1, 0.35) * u * blur(soft, 0.5 * u)
    return where


DEFECTS = {"scratch": scratch, "pit": pit, "inclusion": inclusion, "patch": patch}


# Pictures


def render(scene: Scene) -> np.ndarray:
    """Light the scene and photograph it: H x W x 3, uint8, RGB."""
    slope_x = cv2.Sobel(scene.height, cv2.CV_32F, 1, 0, scale=0.125)
    slope_y = cv2.Sobel(scene.height, cv2.CV_32F, 0, 1, scale=0.125)
    shade = 1 - slope_x * math.cos(scene.light) - slope_y * math.sin(scene.light)
    shade = np.clip(shade, 0.2, 2)
    image = scene.colour * (scene.tone * scene.gain * shade)[..., None] + scene.glare[..., None]
    size = scene.noise.shape[0]
    image = cv2.resize(image.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) + scene.noise
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def generate(rng: np.random.Generator, label: str, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture.

    Args:
        rng: Random stream; the same stream state gives the same surface under every label.
        label: One of CLASSES.
        size: Side of the picture, pixels.

    Returns:
        image: size x size x 3, uint8, RGB.
        mask: size x size, bool, true on the defect; all false for "normal".
    """
    surface_rng, defect_rng = rng.spawn(2)
    scene = make_scene(surface_rng, size)
    clean = render(scene)
    if label == "normal":
        return clean, np.zeros((size, size), bool)
    height, tone, colour = scene.height, scene.tone, scene.colour
    while True:
        scene.height, scene.tone, scene.colour = height.copy(), tone.copy(), colour.copy()
        where = DEFECTS[label](defect_rng, scene).astype(np.float32)
        mask = cv2.resize(where, (size, size), interpolation=cv2.INTER_AREA) > 0.3
        image = render(scene)
        change = np.abs(image.astype(int) - clean).mean(axis=2)
        if mask.any() and change[mask].mean() >= max(MIN_CHANGE, MIN_CONTRAST * clean[mask].mean()):
            return image, mask


def picture(seed: int, index: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw picture `index` of the set `seed`: image and mask as in `generate`, and the index into CLASSES."""
    label = index % len(CLASSES)
    return *generate(np.random.default_rng((seed, index)), CLASSES[label], size), label


def main() -> None:
    """Write images, masks and labels.csv."""
    parser = argparse.ArgumentParser(description="Generate metal surfaces with defects and their masks.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=20, help="number of pictures, the classes in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=SIZE, help="side, pixels")
    args = parser.parse_args()
    for folder in ("images", "masks"):
        (args.directory / folder).mkdir(parents=True, exist_ok=True)
    with open(args.directory / "labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "label"))
        for index in range(args.count):
            image, mask, label = picture(args.seed, index, args.size)
            name = f"{CLASSES[label]}_{index}.png"
            cv2.imwrite(str(args.directory / "images" / name), image[..., ::-1])
            cv2.imwrite(str(args.directory / "masks" / name), mask.astype(np.uint8) * 255)
            table.writerow((name, CLASSES[label]))


if __name__ == "__main__":
    main()
