"""`--single-file` of `export`, and single files as models of `explain` and `verify`."""

import json

import numpy as np
import pytest

import sise_rt
from sise_rt.commands.group import run as run_command


@pytest.fixture(scope="module")
def file(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / "explain.onnx"
    assert run_command(["export", str(small_model), "--single-file", "-o", str(path), "--quiet"]) == 0
    return path


def test_it_explains_what_the_bundle_explains(sise, file, small_bundle, photos, tmp_path):
    picture = next(photos.rglob("*.png"))
    code, out, err = sise(
        "explain", picture, "-m", file, "-o", tmp_path, "--top-k", 2, "--blocks", "--report", "--json"
    )
    assert code == 0, err
    records = [json.loads(line) for line in out.splitlines()]
    explainer = sise_rt.load(small_bundle, "cpu")
    best = [explanation.target for explanation in explainer.explain_targets(picture, top_k=2)]
    assert [record["target"]["index"] for record in records] == best
    for record in records:
        explanation = explainer.explain(picture, record["target"]["index"])
        assert record["masks"] == explanation.masks
        expected = explanation.record()["blocks"]
        assert [(b["kept"], b["constant"], b["used"]) for b in record["blocks"]] == [
            (b["kept"], b["constant"], b["used"]) for b in expected
        ]
        map_ = np.load(tmp_path / f"{picture.stem}.{explanation.target}.npy")
        np.testing.assert_allclose(map_, explanation.map, atol=1e-3)
        for ending in ("png", "json", "html", "blocks.png"):
            assert (tmp_path / f"{picture.stem}.{explanation.target}.{ending}").exists()


def test_a_picture_that_cannot_be_read_is_a_line(sise, file, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    picture = next(photos.rglob("*.png"))
    code, out, err = sise("explain", tmp_path / "broken.png", picture, "-m", file, "-o", tmp_path / "out")
    assert code == 1
    assert "1 of 2 images failed" in out + err
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 1
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "0.5"], "--budget"),
        (["--preset", "fast"], "--preset"),
        (["--check"], "--check"),
        (["--batch-size", "4"], "--batch-size"),
        (["--memory", "1GB"], "--memory"),
        (["--method", "rise"], "explains by sise, and not by rise"),
        (["--method", "sise:budget=0.5"], "budget"),
        (["--fusion", "otsu-soft"], "fuses by otsu"),
        (["-t", "9"], "out of range"),
        (["--from", "list.csv"], "--from"),
        (["--limit", "1"], "--limit"),
        (["--shard", "1/2"], "--shard"),
        (["--below-confidence", "0.5"], "--below-confidence"),
        (["--no-skip-existing"], "--no-skip-existing"),
        (["--maps", "shards"], "--maps"),
        (["--table", "results.parquet"], "--table"),
        (["--no-overview"], "--no-overview"),
        (["--engine", "ray"], "--engine"),
    ],
)
def test_options_that_cannot_apply_are_refused_by_name(sise, file, photos, tmp_path, options, said):
    code, out, err = sise(
        "explain", next(photos.rglob("*.png")), "-m", file, "-o", tmp_path / "out", *options
    )
    assert code == 2
    assert said in out + err
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("many", [".", "*.png", "-"])
def test_a_run_of_many_is_refused(sise, file, tmp_path, many):
    code, out, err = sise("explain", many, "-m", file, "-o", tmp_path / "out")
    assert code == 2
    assert f"{many!r} is none: use a bundle" in out + err
    assert not (tmp_path / "out").exists()


def test_no_picture_is_refused(sise, file):
    code, out, err = sise("explain", "-m", file)
    assert code == 2
    assert "name pictures" in out + err


def test_a_folder_that_holds_a_run_stays_as_it_is(sise, file, small_bundle, photos, tmp_path):
    pictures = sorted(photos.rglob("*.png"))[:2]
    assert sise("explain", *pictures, "-m", small_bundle, "-o", tmp_path)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = sise("explain", pictures[0], "-m", file, "-o", tmp_path)
    assert code == 2
    assert "holds a run" in out + err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_earlier_result_is_replaced_with_a_note(sise, file, photos, tmp_path):
    picture = next(photos.rglob("*.png"))
    options = ["explain", picture, "-m", file, "-o", tmp_path, "--outputs", "record,map"]
    assert sise(*options)[0] == 0
    assert not list(tmp_path.glob("*.png"))
    code, _, err = sise(*options, "--mu", "0.5", "--map-size", "4")
    assert code == 0
    assert "replaces an earlier result with mu 0.0" in err
    (map_,) = tmp_path.glob("*.npy")
    assert min(np.load(map_).shape) == 4


def test_mu(sise, file, photos, tmp_path):
    picture = next(photos.rglob("*.png"))
    masks = [
        json.loads(sise("explain", picture, "-m", file, "-o", tmp_path / "o", "--json", *mu)[1])["masks"]
        for mu in ([], ["--mu", "0.5"], ["--method", "sise:mu=0.5"])
    ]
    assert masks[0] > masks[1] == masks[2]


def test_verify(sise, file, small_model):
    code, out, err = sise("verify", file)
    assert code == 0
    assert "is sound" in out
    code, _, err = sise("verify", file, "--precision", "bf16", "--images", ".")
    assert code == 2
    assert "do not apply" in err
    assert sise("verify", small_model)[0] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--single-file", "--precision", "fp16"], "--precision"),
        (["--single-file", "--without-gradients"], "--without-gradients"),
        (["--method", "grad-cam"], "--method goes with --single-file"),
        (["--required-inputs"], "--required-inputs goes with --single-file"),
        (["--single-file", "-o", "x.sise"], "something.onnx"),
    ],
)
def test_export_refuses_what_does_not_go_together(sise, small_model, options, said):
    code, out, err = sise("export", small_model, *options)
    assert code == 2
    assert said in out + err
