"""The reactions to fills: a line for each of them and each share, and that hiding nothing changes nothing."""

import re
from pathlib import Path

import pytest

import sise_rt
from benchmarks import fills

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"


def test_a_line_for_each_fill_and_share(photos, capsys, monkeypatch):
    monkeypatch.setattr(fills, "SHARES", (0.001, 0.9))
    fills.main([str(DEMO), "--data", str(photos), "--format", "folder", "--limit", "3", "--threads", "1"])
    first, _, _, *lines = capsys.readouterr().out.splitlines()
    whole = float(re.fullmatch(r"3 pictures, mean confidence (0\.\d+) with nothing hidden", first)[1])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:2] for row in cells] == [[fill, share] for fill in fills.FILLS for share in ("0%", "90%")]
    for little, much in zip(cells[::2], cells[1::2], strict=True):
        assert float(little[2]) == pytest.approx(whole, abs=0.05)
        assert float(much[2]) < whole
