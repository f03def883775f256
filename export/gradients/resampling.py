"""Which elements of an axis a resized or padded axis is made of, in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import UnsupportedOperator

# Where ONNX Runtime was seen to decide ties otherwise than its float32 formula.
UNCERTAIN = {("asymmetric", "round_prefer_ceil")} | {
    ("half_pixel_symmetric", mode) for mode in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
}


def source_positions(n: int, m: int, scale: float, mode: str) -> np.ndarray:
    """Where each of `m` outputs lies among `n` inputs.

    In float32, as runtimes compute it: which of two inputs is nearest can depend on the rounding.
    """
    single = np.float32
    at, step, half = np.arange(m, dtype=single), single(scale), single(0.5)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and m > 1):
        return (at + half) / step - half
    if mode == "pytorch_half_pixel":
        return np.zeros(m, single)
    if mode == "half_pixel_symmetric":
        adjustment = single(m) / (step * single(n))
        return single(n / 2) * (1 - adjustment) + ((at + half) / step - half)
    if mode == "align_corners":
        return at * single(n - 1) / single(m - 1) if m > 1 else np.zeros(m, single)
    if mode == "asymmetric":
        return at / step
    raise UnsupportedOperator(f"Resize has no rule for coordinate mode {mode!r}")


def nearest(n: int, m: int, scale: float, coordinates: str, mode: str) -> np.ndarray:
    """Which of `n` inputs each of `m` outputs copies.

    Raises:
        UnsupportedOperator: unknown modes, or two inputs are equally near and runtimes choose by rounding.
    """
    rounding: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda at: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda at: np.floor(at + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise UnsupportedOperator(f"Resize has no rule for nearest mode {mode!r}")

    def choose(at: np.ndarray) -> np.ndarray:
        return rounding[mode](at).clip(0, n - 1).astype(np.int64)

    at = source_positions(n, m, scale, coordinates).astype(np.float64)
    coarse = round(scale * 4096) / 4096 == scale  # then positions are exact where two inputs are equally near
    if not coarse and (coordinates, mode) in UNCERTAIN and (choose(at - 1e-5) != choose(at + 1e-5)).any():
        raise UnsupportedOperator(
            f"Resize from {n} to {m} with {coordinates} and {mode}: which input is nearest hangs on rounding"
        )
    return choose(at)


def interpolation(
    at: np.ndarray, n: int, kernel: Callable[[np.ndarray], np.ndarray], shrink: float, exclude: bool
) -> np.ndarray:
    """Weights (outputs, n) of a kernel at each position, summing to one.

    Args:
        at: positions among the inputs.
        n: how many inputs there are.
        kernel: the weight at a distance.
        shrink: below 1 widens the kernel against aliasing.
        exclude: leave out what falls outside, instead of repeating the edge there.
    """
    reach = int(np.ceil(2 / shrink)) + 1
    taps = np.arange(-reach, n + reach)
    at = at.astype(np.float64)
    weights = kernel((taps - at[:, None]) * shrink)
    if exclude:
        weights[:, (taps < 0) | (taps >= n)] = 0.0
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = weights @ np.eye(n)[taps.clip(0, n - 1)]
    return matrix / matrix.sum(axis=1, keepdims=True)


def triangle(t: np.ndarray) -> np.ndarray:
    """The kernel of linear interpolation."""
    return np.maximum(1 - np.abs(t), 0.0)


def cubic(t: np.ndarray, a: float) -> np.ndarray:
    """The kernel of cubic convolution with slope `a` at distance 1."""
    t = np.abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def padding_sources(at: np.ndarray, n: int, mode: str) -> np.ndarray:
    """Which of `n` elements each position of the padded axis repeats."""
    if mode == "edge":
        return at.clip(0, n - 1)
    if mode == "wrap":
        return at % n
    if mode != "reflect":
        raise UnsupportedOperator(f"Pad has no rule for mode {mode!r}")
    period = max(2 * (n - 1), 1)
    return (n - 1) - np.abs((n - 1) - at % period)
