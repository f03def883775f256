"""The sha256 of pictures, against hashlib and the program of that name."""

import hashlib
import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from sise_rt.pictures import reading
from sise_rt.pictures.fingerprint import Fingerprint
from sise_rt.pictures.reading import read_picture

PIXELS = np.random.default_rng(4).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture(params=["png", "tiff", "bmp", "npy", "ppm"])
def file(request, tmp_path):
    path = tmp_path / f"picture.{request.param}"
    if request.param == "npy":
        np.save(path, PIXELS)
    else:
        Image.fromarray(PIXELS).save(path)
    return path


def test_of_a_file_it_is_what_sha256sum_says(file):
    told = read_picture(file).fingerprint
    assert told == Fingerprint(hashlib.sha256(file.read_bytes()).hexdigest(), "file")
    if shutil.which("sha256sum"):
        printed = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True).stdout
        assert printed.split()[0] == told.sha256


def test_a_file_beyond_memory_has_the_same(file, monkeypatch):
    before = read_picture(file)
    monkeypatch.setattr(reading, "WHOLE", 10)
    after = read_picture(file)
    assert after.fingerprint == before.fingerprint
    assert (after.pixels == before.pixels).all()


def test_a_file_is_read_once(file, monkeypatch):
    read = []

    class Counted(io.FileIO):
        def read(self, size=-1):
            data = super().read(size)
            read.append(len(data))
            return data

        readall = read

    monkeypatch.setattr(reading.Path, "open", lambda path, mode: Counted(path, mode.replace("b", "")))
    read_picture(file)
    assert sum(read) == file.stat().st_size


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_of_bytes(kind, file):
    data = file.read_bytes()
    assert read_picture(kind(data)).fingerprint == Fingerprint(hashlib.sha256(data).hexdigest(), "bytes")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (PIXELS, "|u1"),
        (PIXELS[:, ::-1], "|u1"),
        (np.asfortranarray(PIXELS), "|u1"),
        (PIXELS.astype("<u2"), "<u2"),
        (PIXELS.astype(">u2"), ">u2"),
        (PIXELS[..., 0], "|u1"),
    ],
)
def test_of_an_array_it_is_of_its_values_in_row_major_order(array, dtype):
    expected = hashlib.sha256(array.tobytes(order="C")).hexdigest()
    assert read_picture(array).fingerprint == Fingerprint(expected, "array", dtype, array.shape)


def test_of_a_pillow_image_it_is_of_the_pixels_that_are_read(tmp_path):
    image = Image.fromarray(PIXELS[..., 0])
    told = read_picture(image).fingerprint
    expected = hashlib.sha256(np.array(image.convert("RGB")).tobytes()).hexdigest()
    assert told == Fingerprint(expected, "pixels", "|u1", (20, 30, 3))
