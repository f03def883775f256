"""Pictures of several kinds, and what a network gives for them: by the values one sees what they mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sise_rt.errors import ModelError
from sise_rt.manifest import Preprocess
from sise_rt.running.probe import probe_tensor

from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.mapping import mapped_offsets
from ..ir.messages import gist
from ..ir.network import Network, to_model


def probe_pictures(size: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Pictures (C, H, W) uint8: black, white, noise, a ramp, a square, a chequer, and noise in a corner."""
    _, height, width = size
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    noise = rng.integers(0, 256, size, np.uint8)
    square = 230 * ((abs(rows - height / 2) < height / 4) & (abs(columns - width / 2) < width / 4)) + 12
    chequer = 255 * ((rows * 8 // height + columns * 8 // width) % 2)
    ramp = 255 * columns // max(1, width - 1)
    corner = np.where((rows < height / 2) & (columns < width / 2), noise, 128)
    yield np.zeros(size, np.uint8)
    yield np.full(size, 255, np.uint8)
    yield noise
    for plane in (ramp, square, chequer, corner):
        yield np.broadcast_to(plane, size).astype(np.uint8)


def outputs_for_probes(network: Network, preprocess: Preprocess | None) -> np.ndarray:
    """The output for each of the pictures, one row a picture, float64.

    Args:
        network: whose output is (N, columns).
        preprocess: of the pictures; None brings pixels to about [-2, 2].

    Raises:
        ModelError: the network does not run.
    """
    channels = network.image_size[0]
    if preprocess is None:
        mean, std = (0.5,) * channels, (0.25,) * channels
        color = "GRAY" if channels == 1 else "RGB"
        preprocess = Preprocess(network.image_size, "bilinear", 1, "squash", mean, std, color, 255)
    file, offsets = mapped_offsets(network.weights)
    model = to_model(network.graph, network, location=file.name if file else None, offsets=offsets)
    session = open_session(
        model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), file and file.parent
    )
    rows = []
    for picture in probe_pictures(network.image_size):
        image = probe_tensor(picture, preprocess).astype(network.types["images"].dtype)
        try:
            rows.append(session.run(["logits"], {"images": image})[0].reshape(-1))
        except Exception as error:
            raise ModelError(f"the model does not run: {gist(error)}") from error
    return np.array(rows, np.float64)
