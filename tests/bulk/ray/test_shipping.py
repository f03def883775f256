"""A bundle on its way to a node's disk: whole, hash-checked, once, whoever is at it besides."""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources

import pytest

from sise_rt.bulk.ray import shipping
from sise_rt.bulk.ray.shipping import ship
from sise_rt.bundle import read_bundle
from sise_rt.errors import BundleError, OutputError


class Store:
    """In place of Ray's object store; counts what is fetched."""

    def __init__(self):
        self.fetched = 0

    def put(self, value):
        return [value]

    def get(self, reference):
        self.fetched += 1
        return reference[0]


@pytest.fixture
def store(monkeypatch, tmp_path):
    made = Store()
    monkeypatch.setattr(shipping, "import_ray", lambda: made)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return made


def test_it_arrives_once(store, small_bundle):
    shipped = ship(small_bundle)
    folders = {shipped.folder() for _ in range(3)}
    assert store.fetched == 1
    (folder,) = folders
    assert read_bundle(folder) == read_bundle(small_bundle)
    assert {p.name for p in folder.parent.iterdir()} == {folder.name}
    assert folder.parent.stat().st_mode & 0o077 == 0


def test_several_actors_race(store, small_bundle):
    shipped = ship(small_bundle)
    with ThreadPoolExecutor(8) as actors:
        folders = {future.result() for future in [actors.submit(shipped.folder) for _ in range(16)]}
    (folder,) = folders
    read_bundle(folder)
    assert {p.name for p in folder.parent.iterdir()} == {folder.name}


@pytest.mark.parametrize("damage", ["weights.bin", "manifest.json", "score.onnx"])
def test_what_a_cleaner_left_is_unpacked_again(store, small_bundle, damage):
    shipped = ship(small_bundle)
    (shipped.folder() / damage).unlink()
    read_bundle(shipped.folder())
    assert store.fetched == 2


def test_another_bundle_in_its_place_is_not_taken(store, small_bundle, tmp_path):
    shipped = ship(small_bundle)
    folder = shipped.folder()
    shutil.rmtree(folder)
    shutil.copytree(resources.files("sise_rt") / "demo" / "surface.sise", folder)
    assert read_bundle(shipped.folder()).name == read_bundle(small_bundle).name


def test_what_arrives_altered_is_refused(store, small_bundle):
    shipped = ship(small_bundle)
    (content,) = shipped.content
    altered = {path: data.copy() for path, data in content.items()}
    altered["weights.bin"][7] ^= 1
    with pytest.raises(BundleError, match="altered"):
        replace(shipped, content=[altered]).folder()
    with pytest.raises(BundleError, match="another bundle"):
        replace(shipped, sha256="0" * 64).folder()


def test_a_folder_of_somebody_else_is_not_used(store, small_bundle, tmp_path):
    shipped = ship(small_bundle)
    place = shipped.folder().parent
    shutil.rmtree(place)
    (tmp_path / "theirs").mkdir()
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(OutputError, match="somebody else's"):
        shipped.folder()


def test_what_is_no_bundle_is_not_shipped(store, tmp_path):
    with pytest.raises(BundleError):
        ship(tmp_path)
