"""Stems: below the output folder, all different, whatever the ids, and whatever their order."""

import os
import unicodedata

import numpy as np
import pytest

from sise_rt.bulk.stems import stems_of_files, stems_of_ids
from sise_rt.naming import base_name

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "etc/passwd",
    "..",
    ".",
    "/",
    "...",
    "a/../../b.png",
    "a//b.png",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "\u202egnp.exe",
    "..\\..\\windows",
    "\ud800",
    "\udcff.png",
    "x" * 400,
    "x" * 401,
    "é" * 300,
    "/".join(["deep"] * 2000),
    "run.json/a",
    "Results.jsonl/a",
    "overview.html/a",
    "A.png",
    "a.png",
    "a.PNG",
    "a.jpg",
    "a.png.png",
    "ä.png",
    "a\u0308.png",
    "ß",
    "SS",
]


def folded(stem):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", stem).casefold())


def test_the_tree_is_mirrored_and_an_ending_kept_where_only_that_differs():
    paths = ["0001.png", "cam1/0001.png", "cam2/0001.png", "cam2/0001.jpg", "cam2/v1.2/0001.tar.png"]
    assert stems_of_files(paths) == [
        "0001",
        "cam1/0001",
        "cam2/0001.png",
        "cam2/0001.jpg",
        "cam2/v1.2/0001.tar",
    ]


def test_whoever_keeps_an_ending_makes_room_for_others():
    """`a.png` keeps its ending because of `a.jpg`, so `a.png.png` cannot be called so."""
    assert stems_of_files(["a.png", "a.jpg", "a.png.png"]) == ["a.png", "a.jpg", "a.png.png"]


def test_letter_case_and_composed_accents_are_told_apart_by_a_mark():
    stems = stems_of_files(["cam/A.png", "cam/a.png", "cam/é.png", "cam/e\u0301.png", "cam/b.png"])
    assert [stem.partition("~")[0] for stem in stems] == [
        "cam/A.png",
        "cam/a.png",
        "cam/é.png",
        "cam/e\u0301.png",
        "cam/b",
    ]
    assert len(set(map(folded, stems))) == 5
    assert all(len(stem.partition("~")[2]) == 8 for stem in stems[:4])


@pytest.mark.parametrize("stems_of", [stems_of_files, stems_of_ids])
def test_hostile_names_stay_below_the_folder_and_can_be_files(tmp_path, stems_of):
    out = tmp_path / "out"
    stems = stems_of(HOSTILE)
    assert len({folded(stem) for stem in stems}) == len(HOSTILE)
    for stem in stems:
        path = os.path.normpath(out / f"{base_name(stem, 281, 'sise:mu=0.3')}.blocks.png")
        assert os.path.commonpath([out, path]) == str(out)
        assert not any(ord(character) < 32 for character in stem)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x"):
            pass
    assert not {"run.json", "results.jsonl", "overview.html"} & {name.lower() for name in os.listdir(out)}


def test_stems_do_not_depend_on_the_order():
    rng = np.random.default_rng(3)
    alphabet = ["a", "A", ".png", ".jpg", "/", "..", "é", "e\u0301", "\\", "\n"]
    ids = list({"".join(rng.choice(alphabet, rng.integers(1, 6))) for _ in range(600)})
    ids.sort()
    for stems_of in (stems_of_files, stems_of_ids):
        stems = dict(zip(ids, stems_of(ids), strict=True))
        assert len(set(map(folded, stems.values()))) == len(ids)
        for _ in range(3):
            mixed = [ids[place] for place in rng.permutation(len(ids))]
            assert dict(zip(mixed, stems_of(mixed), strict=True)) == stems


def test_ids_lose_endings_of_pictures_only():
    assert stems_of_ids(["a.PNG", "scan.v2", "cam/b.npy"]) == ["a", "scan.v2", "cam/b"]
    assert stems_of_files(["scan.v2"]) == ["scan"]


def test_a_chain_of_clashes_ends():
    paths = ["a.png" + ".png" * more for more in range(500)] + ["a.jpg"]
    stems = stems_of_files(paths)
    assert len(set(stems)) == len(paths)
