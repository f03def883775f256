"""What the benchmarks do with reports: which rows count, and what an interrupted one leaves."""

import json

import numpy as np
import pytest
from PIL import Image

import sise_rt

pytest.importorskip("matplotlib", reason="pip install '.[evaluate]'")
from benchmarks import ablation, budget, evidence, rounded


def row(name, target, area, metrics, *, predicted=False, method="sise"):
    base = {"class": name, "target": target, "method": method, "annotated": area is not None}
    return base | {
        "predicted": predicted,
        "truth_area": area,
        "kept": 0.15,
        "passes": 5,
        "seconds": 1.0,
        "metrics": metrics,
    }


def report(folder, *records, tail=""):
    lines = (json.dumps({"image": image, "rows": rows, "problems": []}) for image, rows in records)
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines) + tail)
    return folder


def test_a_limit_on_the_truth_keeps_or_drops_whole_pictures(tmp_path):
    report(
        tmp_path,
        (
            "a",
            [
                row("dog", 1, 0.6, {"ebpg": 0.9, "drop": 0.3}, predicted=True),
                row("ball", 2, 0.1, {"ebpg": 0.2}),
            ],
        ),
        ("b", [row("cat", 3, 0.7, {"ebpg": 0.8}), row(None, 4, None, {"drop": 0.1}, predicted=True)]),
        ("c", [row("cat", 3, 0.4, {"ebpg": 0.5}), row(None, 4, None, {"drop": 0.2}, predicted=True)]),
        ("d", [row(None, 4, None, {"drop": 0.4}, predicted=True)]),
        tail='{"image": "e", "ro',
    )
    rows = evidence.rows_of(tmp_path, 0.5)
    assert evidence.values(rows, "ebpg") == pytest.approx({("a", "ball", 2): 20, ("c", "cat", 3): 50})
    assert evidence.values(rows, "drop") == pytest.approx({("a", "dog", 1): 30, ("c", None, 4): 20})
    assert [row["annotated"] for _, row in rows] == [False, True, True, False]
    assert len(evidence.rows_of(tmp_path, 1.0)) == 7


def test_even_and_odd_pictures_make_up_a_report(tmp_path):
    names = ["d", "b", "a", "e", "c"]
    report(tmp_path, *((name, [row("dog", 1, 0.2, {"ebpg": 0.5})] * 2) for name in names))
    rows = evidence.rows_of(tmp_path, 1.0)
    parts = {part: [image for image, _ in evidence.part_of(rows, part)] for part in ("even", "odd", None)}
    assert parts == {"even": list("bbee"), "odd": list("ddaacc"), None: list("ddbbaaeecc")}


def test_likeness_is_of_the_shape_alone():
    map_ = np.random.default_rng(0).random((8, 8))
    assert rounded.likeness(3 * map_ + 1, map_) == pytest.approx({"correlation": 1, "iou": 1})
    other = rounded.likeness(-map_, map_)
    assert other["correlation"] == pytest.approx(-1)
    assert other["iou"] == 0
    assert rounded.likeness(np.ones((8, 8)), map_) == {"correlation": 0, "iou": 0}


def test_two_classes_of_one_target_are_two_pairs(tmp_path, capsys):
    pairs = [row("x", 3, 0.1, {"ebpg": 0.8}), row("y", 3, 0.1, {"ebpg": 0.4})]
    others = [{**pair, "method": "rise", "metrics": {"ebpg": 0.3}} for pair in pairs]
    report(tmp_path, ("a", [*pairs, *others]), ("b", [*pairs, *others]))
    evidence.main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 pictures, 4 pairs with an annotated class, 0 predicted classes."
    assert "| sise | 60.0 ± 0.0 | 15.0 | 5 | 1.00 |" in lines
    assert "| rise | -30.0 ± 0.0 |" in lines


def test_cost_is_of_pictures_with_one_target_whatever_is_left_of_them(tmp_path):
    one = [row("x", 3, 0.1, {"ebpg": 0.8})]
    shared = {"passes": 95, "seconds": 9.0}
    two = [row("x", 3, 0.9, {"ebpg": 0.8}) | shared, row("y", 4, 0.1, {"ebpg": 0.4}) | shared]
    report(tmp_path, ("a", one), ("b", two))
    for most in (0.5, 1.0):
        groups = evidence.by_method(evidence.rows_of(tmp_path, most))
        assert evidence.table(groups, ["ebpg"])[2].endswith("| 5 | 1.00 |")


def test_missing_values_are_counted_and_repeated_lines_are_not(tmp_path, capsys):
    lacking = [row("x", 3, 0.1, {"ebpg": None}), row("x", 3, 0.1, {"ebpg": 0.5}, method="rise")]
    whole = [row("x", 3, 0.1, {"ebpg": 0.8}), row("x", 3, 0.1, {"ebpg": 0.5}, method="rise")]
    report(tmp_path, ("a", whole), ("b", whole), ("b", lacking))
    evidence.main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.endswith("\n\nWithout a value: sise EBPG 1.\n")
    assert "| sise | 80.0 |" in printed


@pytest.mark.parametrize("arguments", [["--methods", "magic"], ["--max-truth", "0.01"]])
def test_what_a_report_has_not_is_one_message(tmp_path, capsys, arguments):
    report(tmp_path, ("a", [row("x", 3, 0.1, {"ebpg": 0.8})]))
    with pytest.raises(SystemExit):
        evidence.main([str(tmp_path), *arguments])
    assert "the report has no" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "sizes"), [(5, [3, 2]), (4, [2]), (3, [1, 2]), (2, []), (1, [])])
def test_random_blocks_have_names_of_their_own(count, sizes):
    drawn = ablation.draws(count, 1)
    assert [len(set(blocks)) for blocks in drawn.values()] == sizes
    assert all(0 <= block < count for blocks in drawn.values() for block in blocks)


def test_an_ablation_goes_on_behind_a_torn_line(small_bundle, tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    explainer = sise_rt.load(small_bundle, "cpu")
    rng = np.random.default_rng(5)
    lines = ["image,class,x0,y0,x1,y1"]
    boxes = {0: "4,4,20,20", 1: "100,100,200,200", 2: "8,2,30,25", 3: "1,1,9,30"}  # 1 is outside its picture
    for i, box in boxes.items():
        array = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(array).save(data / f"{i}.png")
        lines.append(f"{i}.png,{explainer.confidences(data / f'{i}.png').argmax()},{box}")
    (data / "boxes.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("sise_rt.metrics.check.drop", lambda *_: np.array([np.nan]))  # of confidence 0
    arguments = [str(small_bundle), "-o", str(out), "--data", str(data)]
    ablation.main(arguments)
    path = out / "rows.jsonl"
    whole = path.read_bytes()
    records = [json.loads(line) for line in whole.splitlines()]
    assert sorted(record["image"] for record in records) == ["0.png", "2.png", "3.png"]
    for record in records:
        names = [row["method"] for row in record["rows"]]
        assert len(set(names)) == len(names) > 4
        assert all(row["metrics"]["drop"] is None for row in record["rows"])
        assert all(0 <= row["metrics"]["ebpg"] <= 1 for row in record["rows"])
    path.write_bytes(whole[:-20])
    ablation.main(arguments)
    assert path.read_bytes() == whole


def test_policies_are_of_the_same_masks(small_bundle):
    explainer = sise_rt.load(small_bundle, "cpu")
    rng = np.random.default_rng(5)
    picture = explainer.prepare(np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8))
    target = int(explainer.confidences(picture).argmax())
    variants = {v.name: v for v in budget.variants(explainer.engine, picture, target, 1)}
    whole = explainer.explain(picture, target)
    np.testing.assert_allclose(variants["exact"].map, whole.raw, atol=1e-6)
    assert variants["exact"].passes == whole.passes
    compared = [v for name, v in variants.items() if name.endswith(f" {budget.SHARE:g}")]
    assert len(compared) == 5
    assert len({v.passes for v in compared if "budget" not in v.name}) == 1
    assert all(v.map.shape == whole.raw.shape for v in variants.values())
    assert max(v.passes for v in compared) < 0.5 * whole.passes
