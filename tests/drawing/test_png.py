import io
import os

import numpy as np
import pytest
from PIL import Image

from sise_rt.drawing.png import encode_png, save_png
from sise_rt.errors import ArgumentError, OutputError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def test_png_round_trip(tmp_path):
    picture = noise(20, 30, 3)
    path = tmp_path / "größe 猫.png"
    save_png(path, picture)
    np.testing.assert_array_equal(np.array(Image.open(path)), picture)
    save_png(str(path), picture[:, ::-1])  # over an old one, and from a view
    np.testing.assert_array_equal(np.array(Image.open(path)), picture[:, ::-1])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"a\.png.*cannot be written"):
        save_png(path, noise(4, 4, 3))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/a.png", "file/a.png", "folder", "a\0b.png", "x" * 300 + ".png"])
def test_places_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_png(tmp_path / name, noise(4, 4, 3))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_what_is_no_picture_is_not_written(tmp_path):
    for array in (np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ArgumentError, match="a picture"):
            save_png(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())


def test_transparent_pictures_keep_their_alpha():
    pixels = noise(20, 30, 4)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.array(image), pixels)
