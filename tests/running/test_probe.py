"""The probe that a bundle keeps: written and read again, and refused where it cannot be used."""

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sise_rt.bundle import PROBE, read_bundle
from sise_rt.errors import BundleError
from sise_rt.running.probe import cell_sums, probe_tensor, read_probe
from sise_rt.running.sessions import Sessions


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))


def test_what_is_saved_is_read_again(bundle):
    manifest = read_bundle(bundle)
    probe = read_probe(Sessions(bundle, manifest, "cpu"))
    assert (len(probe.map_means), len(probe.alphas), probe.of_confidences) == (3, 3, False)
    replace(probe, of_confidences=True, image_gradient=None, target=4).save(bundle)
    again = read_probe(Sessions(bundle, manifest, "cpu"))
    assert (again.target, again.of_confidences, again.image_gradient) == (4, True, None)
    for name in ("image", "output"):
        np.testing.assert_array_equal(getattr(again, name), getattr(probe, name))
    for name in ("map_means", "alphas"):
        for one, other in zip(getattr(again, name), getattr(probe, name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_picture_is_normalised(small_bundle):
    spec = replace(read_bundle(small_bundle).preprocess, mean=(0.5, 0, 0), std=(0.5, 1, 2), scale=255)
    picture = np.full((3, 2, 2), 51, np.uint8)
    tensor = probe_tensor(picture, spec)
    assert (tensor.shape, tensor.dtype) == ((1, 3, 2, 2), np.float32)
    np.testing.assert_allclose(tensor[0, :, 0, 0], [-0.6, 0.2, 0.1], rtol=1e-6)


def test_cells_sum_to_the_whole():
    gradient = np.random.default_rng(0).standard_normal((1, 3, 40, 7))
    sums = cell_sums(gradient)
    assert sums.shape == (3, 16, 7)
    np.testing.assert_allclose(sums.sum(axis=(1, 2)), gradient[0].sum(axis=(1, 2)))


def arrays(bundle: Path) -> dict[str, np.ndarray]:
    with np.load(bundle / PROBE) as stored:
        return {name: stored[name] for name in stored.files}


def saved(values: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


def emptied() -> bytes:
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    return stream.getvalue()


BROKEN = {
    "empty": lambda _: b"",
    "no archive": lambda _: b"PK\x03\x04 and then nothing",
    "cut": lambda values: saved(values)[:-300],
    "no arrays": lambda _: emptied(),
    "an array too few": lambda values: saved({k: v for k, v in values.items() if k != "alpha_2"}),
    "no numbers": lambda values: saved(values | {"alpha_1": np.array(["a"] * 8)}),
    "pickled": lambda values: saved(values | {"maps_1": np.array([{}] * 8, object)}),
    "target of two": lambda values: saved(values | {"target": np.array([1, 2])}),
    "other maps": lambda values: saved(values | {"maps_1": np.zeros(3)}),
    "other size": lambda values: saved(values | {"image": np.zeros((3, 8, 8), np.uint8)}),
    "target out of range": lambda values: saved(values | {"target": np.array(77)}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_stored_numbers_that_cannot_be_used(bundle, case):
    manifest = read_bundle(bundle)
    (bundle / PROBE).write_bytes(BROKEN[case](arrays(bundle)))
    with pytest.raises(BundleError, match=rf"{PROBE} cannot be used"):
        read_probe(Sessions(bundle, manifest, "cpu"))
