"""What a run takes on the disk: exact where that is known, and refused where the disk has less."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sise_rt.bulk.forecast import forecast, free_bytes, refuse_too_large
from sise_rt.bulk.map_shards import MapShards
from sise_rt.errors import OutputError
from sise_rt.saving import OUTPUTS, USUAL, map_bytes


def test_maps_in_files_are_foreseen_to_the_byte():
    each = len(map_bytes(np.zeros((224, 320), np.float32)))
    foreseen = forecast(7, 6, outputs={"map"}, map_shape=(224, 320))
    assert foreseen.each["map"] == 6 * each
    smaller = forecast(7, 6, outputs={"map"}, map_shape=(224, 320), map_size=56)
    assert smaller.each["map"] == 6 * len(map_bytes(np.zeros((56, 80), np.float32)))


def test_shards_are_foreseen(tmp_path):
    foreseen = forecast(50, 2, outputs={"map"}, map_shape=(56, 56), maps="shards")
    with MapShards(tmp_path, lambda _: True) as shards:
        for n in range(50):
            shards.add(f"camera/{n:06}.png", [(t, "sise", np.ones((56, 56), np.float32)) for t in (1, 2)])
    taken = (tmp_path / "maps/000001.npz").stat().st_size
    assert taken <= 50 * foreseen.each["map"] <= 1.05 * taken
    assert foreseen.besides == 50 * foreseen.each["map"]
    many = forecast(10**6, 2, outputs={"map"}, map_shape=(56, 56), maps="shards")
    assert many.besides == 1000 * many.each["map"] / 2
    in_table = forecast(50, 2, outputs={"map"}, map_shape=(56, 56), maps="table")
    assert in_table.each["map"] - foreseen.each["map"] == 2 * 2 * 56 * 56  # float16, of two targets
    assert in_table.besides == foreseen.besides


def test_it_is_told_in_a_line():
    told = forecast(2000, 1, outputs=USUAL, map_shape=(224, 224)).told(80 * 10**9)
    assert told == (
        "2,000 pictures: maps 402 MB, overlays about 786 MB, records about 7 MB, results about 7 MB; "
        "80 GB are free"
    )
    assert forecast(1, 1, outputs=(), map_shape=(8, 8)).told() == "1 picture: results about 3.5 kB"
    assert (
        forecast(None, 1, outputs=["map"], map_shape=(8, 8)).told().startswith("each picture: maps 384 bytes")
    )
    everything = forecast(3, 1, outputs=OUTPUTS, map_shape=(8, 8)).told()
    assert all(word in everything for word in ("maps", "overlays", "records", "strips of blocks", "pages"))


def test_a_run_that_has_no_room_is_refused():
    foreseen = forecast(1000, 1, outputs=["map"], map_shape=(224, 224))
    refuse_too_large(foreseen, 10**9, Path("out"))
    with pytest.raises(
        OutputError, match=r"'out' has no room for 1,000 pictures: maps 201 MB.* 100 MB are free"
    ) as no:
        refuse_too_large(foreseen, 10**8, Path("out"))
    assert no.value.settings == ("outputs", "map_size", "out")


def test_many_small_files_take_whole_blocks():
    foreseen = forecast(10**6, 1, outputs=["record"], map_shape=None)
    assert foreseen.total > 10**6 * (3500 + 3500)
    assert foreseen.total == 10**6 * (3500 + 3500 + 2048)


def test_what_is_not_known_is_not_refused():
    for foreseen in (
        forecast(None, 1, outputs=["map"], map_shape=(224, 224)),
        forecast(10, 1, outputs=["map"], map_shape=None),
    ):
        refuse_too_large(foreseen, 10**6, Path("out"))
    refuse_too_large(forecast(10**9, 1, outputs=["map"], map_shape=(224, 224)), None, Path("out"))


def test_larger_pictures_take_more():
    small, large = (
        forecast(1, 1, outputs=["overlay"], map_shape=None, picture=p) for p in ((99, 99), (3000, 4000))
    )
    assert large.each["overlay"] > 10 * small.each["overlay"]


def test_free_space_is_that_of_the_folder_above(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(Path(path))
        if not Path(path).exists():
            raise FileNotFoundError
        return SimpleNamespace(free=5)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_bytes(tmp_path / "a" / "b") == 5
    assert asked == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]

    def unknown(_):
        raise PermissionError

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    assert free_bytes(tmp_path) is None
