"""Names of results: one for each picture, target and method, which every file system takes."""

import os
from pathlib import Path

import pytest

from sise_rt.errors import ArgumentError
from sise_rt.naming import ENDINGS, base_name, file_label, short_names, shortened


def test_names():
    assert base_name("cat", 281) == "cat.281"
    assert base_name("cam1/cat", 281, "sise:mu=0.3") == "cam1/cat.281.sise-mu-0.3"
    assert base_name("..", 281) == "...281"  # of a file called `...png`, which is within its folder
    assert file_label("a b/c") == "a-b-c"
    assert short_names("cam1/cat") == ("cam1/cat", "cam1/cat")


@pytest.mark.parametrize(
    "stem", ["/etc/passwd", "../cat", "cam1/../../cat", "./cat", "cam1//cat", "ca\0t", "a/../cat"]
)
def test_a_stem_that_leads_out_of_the_folder_is_refused(stem):
    with pytest.raises(ArgumentError, match="leads out of their folder") as refused:
        base_name(stem, 1)
    assert refused.value.settings == ("stem",)


LONG = {
    "ascii": "x" * 255,
    "three bytes each": "\u732b" * 85,
    "no UTF-8": os.fsdecode(b"\xff\xfe" * 127),
    "folders": f"{'f' * 300}/{'g' * 255}/{'x' * 255}",
    "deep": "/".join(["folder"] * 1000) + "/cat",
}


@pytest.mark.parametrize("label", ["", "grad-cam.partial", "sise:" + "mu=0.3," * 60])
@pytest.mark.parametrize("stem", LONG.values(), ids=LONG)
def test_a_long_name_can_be_written(stem, label, tmp_path):
    for target in (1, 21842):
        base = base_name(stem, target, label)
        assert f".{target}" in base
        for ending in ENDINGS:
            path = tmp_path / f"{base}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")


def test_long_names_that_begin_alike_stay_apart():
    names = [f"{'x' * 250}{number}" for number in range(20)]
    assert len({base_name(name, 1) for name in names}) == 20
    first, second = (base_name(names[0], target, label) for target, label in ((1, ""), (999, "grad-cam")))
    assert first.removesuffix(".1") == second.removesuffix(".999.grad-cam") == short_names(names[0])[1]


def test_a_name_that_has_room_is_as_it_was():
    name = "x" * 235
    assert base_name(name, 1) == f"{name}.1"
    assert base_name(name, 12345678) != f"{name}.12345678"


def test_a_shortened_name_holds_whole_characters():
    short = shortened("\u732b" * 85, 100)
    assert len(os.fsencode(short)) <= 100
    assert short.partition("~")[0] == "\u732b" * 30
    assert shortened("cat", 100) == "cat"
    assert Path(short).name == short
