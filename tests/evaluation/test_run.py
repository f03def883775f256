"""A whole evaluation with a small bundle: what is measured, what is kept, and the command."""

import csv
import json
import os
import re
import shutil

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import sise_rt
from sise_rt import metrics
from sise_rt.bulk.claim import claimed
from sise_rt.commands import evaluate as command
from sise_rt.errors import (
    ArgumentError,
    BundleError,
    ImageError,
    MethodError,
    NoEvidence,
    OutputError,
    SiseError,
)
from sise_rt.evaluation import measure, run, store
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.report import write_report
from sise_rt.evaluation.samples import Sample
from sise_rt.evaluation.summary import summarise
from sise_rt.evaluation.truth import draw, to_input
from sise_rt.methods import parse
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image
from sise_rt.running.logits import confidences

for needed in (*command.NEEDED, "defusedxml"):
    pytest.importorskip(needed, reason="pip install '.[evaluate]'")

METRICS = ("ebpg", "miou", "bbox", "pointing-game", "drop", "increase", "insertion", "deletion")
METHODS = ("sise", "grad-cam")
STEP = 150  # pixels; not the default, which is 37 here


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six pictures with boxes: two classes in one, a class that the model lacks, one outside its picture."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    for i in range(6):
        array = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(array).save(folder / f"{i}.png")
    (folder / "boxes.csv").write_text(
        "image,class,x0,y0,x1,y1\n0.png,a,10,5,40,30\n0.png,b,20,20,50,40\n1.png,c,0,0,64,48\n"
        "2.png,zebra,9,9,30,30\n3.png,d,30,10,70,30\n4.png,e,25,20,35,30\n5.png,a,100,100,200,200\n"
    )
    return folder


def planned(dataset, **changes):
    targets = {name: ("abcde".index(name),) for name in dataset.classes if name in "abcde"}
    defaults = {"methods": METHODS, "metrics": METRICS, "targets": targets, "batch_size": 8, "step": STEP}
    chosen = defaults | changes
    return Plan(requests=tuple(map(parse, chosen.pop("methods"))), **chosen)


def evaluated(explainer, small_bundle, data, report, limit=None, **changes):
    dataset = read_dataset(data, "csv-boxes")
    plan = planned(dataset, **changes)
    settings = run.settings_of_run(explainer, "csv-boxes", plan)
    return run.run(explainer, dataset, plan, report, settings, limit=limit), dataset, plan


@pytest.fixture(scope="module")
def whole(explainer, small_bundle, data, tmp_path_factory):
    report = tmp_path_factory.mktemp("whole")
    outcome, dataset, plan = evaluated(explainer, small_bundle, data, report)
    return report, outcome, dataset, plan


def table(report):
    """results.csv without the seconds."""
    with (report / "results.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_every_row_against_the_metrics_themselves(whole, explainer, data):
    _, outcome, dataset, _ = whole
    assert [record["image"] for record in outcome.records] == [s.image for s in dataset.samples]
    samples = {sample.image: sample for sample in dataset.samples}
    pairs = judged = 0
    for record in outcome.records:
        tensor, placement = preprocess(load_image(data / record["image"]), explainer.manifest.preprocess)
        trust = confidences(explainer.engine.forward(tensor), "softmax")[0]
        predicted = [row for row in record["rows"] if row["predicted"]]
        assert {row["method"] for row in predicted} == set(METHODS)
        assert all(row["target"] == trust.argmax() for row in predicted)
        assert len(predicted) == len(METHODS)
        for row in record["rows"]:
            pairs += row["annotated"]
            (found,) = explainer.explain_targets(
                data / record["image"], [row["target"]], method=row["method"], batch_size=8
            )
            if isinstance(found, NoEvidence):
                assert set(row["metrics"].values()) == {None}
                continue
            found = found.map
            judged += 1
            assert row["confidence"] == pytest.approx(trust[row["target"]])
            expected = {}
            if row["annotated"]:
                truth = samples[record["image"]].present[row["class"]]
                mask = to_input(draw(truth, placement.original, data, "", 10**8)[0], placement)
                assert row["truth_area"] == mask.mean()
                for name in METRICS[:4]:
                    expected[name] = getattr(metrics, name.replace("-", "_"))(found, mask)
            if row["predicted"]:
                kept = metrics.kept_pixels(found)
                assert row["kept"] == kept.mean()
                masked = confidences(explainer.engine.forward(tensor * kept), "softmax")[0, row["target"]]
                expected["drop"] = max(0, 1 - masked / trust[row["target"]])
                expected["increase"] = float(masked > trust[row["target"]])

                def confidence(images, target=row["target"]):
                    return confidences(explainer.engine.forward(images), "softmax")[:, target]

                for name in METRICS[6:]:
                    curve = getattr(metrics, name)(found, tensor[0], confidence, step=STEP)
                    expected[name] = curve.auc
                    kept_curve = row["curves"][name]
                    assert kept_curve[0] == pytest.approx(curve.confidence[0], abs=2e-5)
                    assert kept_curve[-1] == pytest.approx(curve.confidence[-1], abs=2e-5)
            assert row["metrics"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
            # Two targets of a picture share masks; every method is charged the pass for its confidence.
            assert row["passes"] == 2 if row["method"] == "grad-cam" else row["passes"] > 10
            assert row["seconds"] > 0
    assert judged >= 15
    assert pairs == 5 * len(METHODS)  # of the table's seven, one is not the model's, one outside its picture


def test_what_is_left_out_is_said(whole):
    _, outcome, _, _ = whole
    problems = [tuple(problem[:2]) for record in outcome.records for problem in record["problems"]]
    assert sorted(problems) == [("box clipped", "3.png: d"), ("box outside the picture", "5.png: a")]


def test_the_table_has_a_line_for_each_row(whole):
    report, outcome, _, _ = whole
    rows = [(record["image"], row) for record in outcome.records for row in record["rows"]]
    lines = table(report)
    assert len(lines) == len(rows)
    for line, (image, row) in zip(lines, rows, strict=True):
        assert (line["image"], line["class"], line["method"]) == (image, row["class"] or "", row["method"])
        assert (line["annotated"], line["predicted"]) == (
            str(int(row["annotated"])),
            str(int(row["predicted"])),
        )
        for name in METRICS:
            value = row["metrics"].get(name)
            assert line[name] == ("" if value is None else str(value))


@pytest.mark.parametrize("torn", [b"", b'{"image": "3.p', b"\x00\x00\x00"])
def test_an_interrupted_run_goes_on_where_it_was(
    whole, explainer, small_bundle, data, tmp_path, monkeypatch, torn
):
    real, seen = measure.measure, []

    def interrupted(explainer, picture, folder, sample, plan):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(sample.image)
        return real(explainer, picture, folder, sample, plan)

    monkeypatch.setattr(run, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(explainer, small_bundle, data, tmp_path)
    with (tmp_path / store.ROWS).open("ab") as stream:
        stream.write(torn)  # as a crash while writing leaves it
    again = []

    def counted(explainer, picture, folder, sample, plan):
        again.append(sample.image)
        return real(explainer, picture, folder, sample, plan)

    monkeypatch.setattr(run, "measure", counted)
    outcome, dataset, _ = evaluated(explainer, small_bundle, data, tmp_path)
    assert seen + again == [sample.image for sample in dataset.samples]
    assert table(tmp_path) == table(whole[0])
    assert len((tmp_path / store.ROWS).read_text().splitlines()) == len(outcome.records) == 6


def test_a_limit_may_grow(whole, explainer, small_bundle, data, tmp_path):
    outcome, dataset, _ = evaluated(explainer, small_bundle, data, tmp_path, limit=2)
    assert [record["image"] for record in outcome.records] == [s.image for s in dataset.samples[:2]]
    evaluated(explainer, small_bundle, data, tmp_path, limit=4)
    evaluated(explainer, small_bundle, data, tmp_path)
    assert table(tmp_path) == table(whole[0])


def test_the_page_shows_the_pictures_as_they_are(whole, explainer, data, tmp_path, monkeypatch):
    _, outcome, dataset, plan = whole
    real, shown = explainer.explain_methods, []

    def watched(picture, *arguments, **options):
        answers = real(picture, *arguments, **options)
        shown.extend((picture, answer) for of_method in answers.values() for answer in of_method)
        return answers

    monkeypatch.setattr(explainer, "explain_methods", watched)
    summary = summarise(outcome, dataset, plan, {}, None)
    write_report(tmp_path, summary, explainer, dataset, plan, outcome)
    assert len(shown) == 3 * len(METHODS)
    for picture, answer in shown:
        np.testing.assert_array_equal(picture.pixels, load_image(data / picture.name))
        if not isinstance(answer, NoEvidence):
            assert answer.placement == picture.placement
    page = (tmp_path / "report.html").read_text()
    assert page.count("ground truth of") >= 2
    assert page.count("data:image/jpeg") > 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": None}, "step: 150 there, null now"),
        ({"max_box_area": 0.5}, "max_box_area: 1.0 there, 0.5 now"),
    ],
)
def test_other_settings_are_refused(whole, explainer, small_bundle, data, changes, message):
    with pytest.raises(OutputError, match=message):
        evaluated(explainer, small_bundle, data, whole[0], **changes)


@pytest.fixture
def watched(monkeypatch):
    """(picture, methods, metrics) of everything that is measured."""
    seen, real = [], measure.measure

    def watch(explainer, picture, folder, sample, plan):
        seen.append((sample.image, plan.methods, plan.metrics))
        return real(explainer, picture, folder, sample, plan)

    monkeypatch.setattr(run, "measure", watch)
    return seen


def plain(records):
    """Rows without what differs from run to run."""
    return [[{k: v for k, v in row.items() if k != "seconds"} for row in r["rows"]] for r in records]


def test_only_what_has_changed_is_measured_again(whole, explainer, small_bundle, data, tmp_path, watched):
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(whole[0], tmp_path / "report")
    shutil.copy(tmp_path / "data" / "0.png", tmp_path / "data" / "1.png")  # another picture, of the same size
    table_of_boxes = (tmp_path / "data" / "boxes.csv").read_text()
    (tmp_path / "data" / "boxes.csv").write_text(table_of_boxes.replace("25,20,35,30", "25,20,36,30"))
    changed = {"1.png", "4.png"}
    outcome, dataset, _ = evaluated(explainer, small_bundle, tmp_path / "data", tmp_path / "report")
    assert {image for image, *_ in watched} == set(outcome.changed) == changed
    assert [record["image"] for record in outcome.records] == [sample.image for sample in dataset.samples]
    before, now = plain(whole[1].records), plain(outcome.records)
    for record, one, other in zip(outcome.records, before, now, strict=True):
        assert (one == other) == (record["image"] not in changed)
    outcome, _, _ = evaluated(explainer, small_bundle, tmp_path / "data", tmp_path / "report")
    assert (len(watched), outcome.changed, plain(outcome.records)) == (2, (), now)
    targets = {name: ("abcde".index(name),) for name in "abcd"} | {"e": (0,)}
    outcome, _, _ = evaluated(
        explainer, small_bundle, tmp_path / "data", tmp_path / "report", targets=targets
    )
    assert outcome.changed == ("4.png",), "its class is another one of the model's now"


def test_methods_are_added_without_repeating_others(whole, explainer, small_bundle, data, tmp_path, watched):
    first, _, _ = evaluated(explainer, small_bundle, data, tmp_path, methods=("grad-cam",))
    assert {methods for _, methods, _ in watched} == {("grad-cam",)}
    both, _, _ = evaluated(explainer, small_bundle, data, tmp_path)
    assert {methods for _, methods, _ in watched[6:]} == {("sise",)}
    assert plain(both.records) == plain(whole[1].records)
    assert [row["metrics"] for row in table_rows(both)] == [row["metrics"] for row in table_rows(whole[1])]
    again, _, _ = evaluated(explainer, small_bundle, data, tmp_path, methods=("grad-cam",))
    assert len(watched) == 12
    assert plain(again.records) == plain(first.records)


def table_rows(outcome):
    return [row for record in outcome.records for row in record["rows"]]


def test_metrics_are_added_and_left_out(whole, explainer, small_bundle, data, tmp_path, watched):
    few, _, _ = evaluated(explainer, small_bundle, data, tmp_path, metrics=("bbox",))
    assert all(set(row["metrics"]) == {"bbox"} for row in table_rows(few))
    whole_again, _, _ = evaluated(explainer, small_bundle, data, tmp_path)
    assert len(watched) == 12, "maps are not kept, so that everything is measured again"
    assert {frozenset(metrics) for *_, metrics in watched[-6:]} == {frozenset(METRICS)}
    assert plain(whole_again.records) == plain(whole[1].records)
    count = len(watched)
    model, _, _ = evaluated(explainer, small_bundle, data, tmp_path, metrics=("drop", "deletion"))
    assert all(row["predicted"] and set(row["curves"]) == {"deletion"} for row in table_rows(model))
    assert all(list(row["metrics"]) == ["drop", "deletion"] for row in table_rows(model))
    assert len(watched) == count


def test_damage_in_the_middle_is_refused(whole, explainer, small_bundle, data, tmp_path):
    shutil.copytree(whole[0], tmp_path / "report")
    path = tmp_path / "report" / store.ROWS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{torn\n" + b"".join(lines[2:]))
    with pytest.raises(OutputError, match="line 2, is damaged"):
        evaluated(explainer, small_bundle, data, tmp_path / "report")
    (tmp_path / "report" / store.SETTINGS).write_text("{")
    with pytest.raises(OutputError, match=r"settings\.json is damaged"):
        evaluated(explainer, small_bundle, data, tmp_path / "report")
    (tmp_path / "report" / store.SETTINGS).unlink()
    with pytest.raises(OutputError, match=r"no settings\.json"):
        evaluated(explainer, small_bundle, data, tmp_path / "report")


ROW = {"class": None, "target": 3, "label": "d", "method": "sise", "confidence": 0.5, "note": None}
ROW |= {"annotated": False, "predicted": True, "difficult": False, "truth_area": None, "kept": 0.15}
ROW |= {"passes": 5, "seconds": 0.1}
ROW |= {"metrics": {"drop": 0.5, "ebpg": None}, "curves": {"deletion": [0.5] * store.CURVE_POINTS}}


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"image": 5, "rows": [], "problems": []},
        {"image": "1.png", "rows": {}, "problems": []},
        {"image": "1.png", "rows": [5], "problems": []},
        {"image": "1.png", "rows": []},
        {"image": "1.png", "rows": [], "problems": "none"},
        {"image": "1.png", "rows": [], "problems": ["none"]},
        {"image": "1.png", "rows": [], "problems": [["kind", 1, "detail"]]},
        {"image": "1.png", "rows": [{}], "problems": []},
        {"image": "1.png", "rows": [ROW | {"metrics": None}], "problems": []},
        {"image": "1.png", "rows": [ROW | {"metrics": {"drop": "much"}}], "problems": []},
        {"image": "1.png", "rows": [ROW | {"passes": []}], "problems": []},
        {"image": "1.png", "rows": [ROW | {"target": "3"}], "problems": []},
        {"image": "1.png", "rows": [ROW], "problems": [], "fingerprint": "12ab"},
        {
            "image": "1.png",
            "rows": [ROW],
            "problems": [],
            "fingerprint": "12ab",
            "methods": [5],
            "metrics": [],
        },
        {"image": "1.png", "rows": [ROW | {"curves": {"deletion": [None] * 51}}], "problems": []},
        {"image": "1.png", "rows": [ROW | {"curves": {"deletion": [0.5]}}], "problems": []},
        {"image": "1.png", "rows": [{k: v for k, v in ROW.items() if k != "note"}], "problems": []},
    ],
)
def test_a_line_that_is_no_record_is_damaged(tmp_path, record):
    good = {"image": "0\udcff.png", "rows": [ROW], "problems": [["kind", "where", ""]]}
    store.open_report(tmp_path, {"step": 1})
    lines = [json.dumps(entry) for entry in (good, record, good)]
    (tmp_path / store.ROWS).write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(
        OutputError, match=r"line 2, is damaged \((Expected|Object missing) .*: remove the line"
    ):
        store.open_report(tmp_path, {"step": 1})
    (tmp_path / store.ROWS).write_text("".join(f"{line}\n" for line in lines[:1]))
    assert store.open_report(tmp_path, {"step": 1}) == {good["image"]: good}


def test_a_failed_start_does_not_claim_the_folder(tmp_path):
    path = tmp_path / store.SETTINGS
    store.open_report(tmp_path, {"step": 1})
    assert store.open_report(tmp_path, {"step": 2}) == {}
    assert json.loads(path.read_text()) == {"step": 2}
    store.append(tmp_path, {"image": "0.png", "rows": [], "problems": []})
    with pytest.raises(OutputError, match="step: 2 there, 3 now"):
        store.open_report(tmp_path, {"step": 3})


def test_settings_of_something_else_are_left_alone(tmp_path):
    (tmp_path / store.SETTINGS).write_text('{"theme": "dark"}')
    with pytest.raises(OutputError, match="other settings"):
        store.open_report(tmp_path, {"step": 1})
    assert (tmp_path / store.SETTINGS).read_text() == '{"theme": "dark"}'


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\t=1"),
        ("a\rb", "a\\rb"),
        ("a\r\n=1", "a\\r\\n=1"),
        ('a",=1', 'a",=1'),
        ("a-b = c@d", "a-b = c@d"),
    ],
)
def test_texts_of_the_table_are_no_formulas_and_no_lines(tmp_path, text, cell):
    row = dict.fromkeys(store.COLUMNS[1:]) | {"label": text, "class": text, "confidence": -0.5, "note": text}
    record = {"image": text, "rows": [row | {"metrics": {"ebpg": -0.25}}]}
    store.write_table(tmp_path, [record, record], ["ebpg"])
    content = (tmp_path / store.TABLE).read_bytes()
    assert content.count(b"\n") == 3
    assert b"\r" not in content
    with (tmp_path / store.TABLE).open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 2
    for line in lines:
        assert {line[name] for name in ("image", "class", "label", "note")} == {cell}
        assert (line["confidence"], line["ebpg"]) == ("-0.5", "-0.25")  # numbers stay numbers


@pytest.mark.parametrize("name", ["results.csv", "summary.json", "report.html"])
def test_a_folder_with_files_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"has a {name} of something else: give another folder"):
        store.open_report(tmp_path, {"step": 1})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_another_bundle_is_told_without_its_hash(tmp_path):
    store.open_report(tmp_path, {"bundle": "12ab", "step": 1})
    store.append(tmp_path, {"image": "0.png", "rows": [], "problems": []})
    with pytest.raises(OutputError, match=r"other settings \(another bundle; step: 1 there, 2 now\)"):
        store.open_report(tmp_path, {"bundle": "34cd", "step": 2})


def test_settings_that_are_no_numbers_are_not_written(tmp_path):
    with pytest.raises(ArgumentError, match="JSON"):
        store.open_report(tmp_path / "report", {"max_box_area": float("nan")})
    assert not (tmp_path / "report").exists()


def test_large_truth_is_left_out(explainer, small_bundle, data, tmp_path):
    outcome, *_ = evaluated(explainer, small_bundle, data, tmp_path, max_box_area=0.5, metrics=("ebpg",))
    large = [p for record in outcome.records for p in record["problems"] if p[0] == "truth too large"]
    assert [problem[1:] for problem in large] == [["1.png: c", "1.000 of the input"]]
    assert all(row["truth_area"] <= 0.5 for record in outcome.records for row in record["rows"])


def test_of_several_targets_the_most_confident_is_explained(explainer, small_bundle, data, tmp_path):
    targets = {"a": (0, 1, 2, 3, 4)}
    outcome, *_ = evaluated(explainer, small_bundle, data, tmp_path, metrics=("ebpg",), targets=targets)
    (rows,) = [record["rows"] for record in outcome.records if record["rows"]]
    best = explainer.confidences(data / "0.png").argmax()
    assert {row["target"] for row in rows} == {best}
    assert all(row["annotated"] and not row["predicted"] for row in rows)  # no metric asks the model


def test_what_finds_no_evidence_is_a_row_without_values(
    whole, explainer, small_bundle, data, tmp_path, monkeypatch
):
    real = explainer.explain_methods

    def silent(picture, targets, methods, **options):
        answers = real(picture, targets, methods, **options)
        return answers | {"grad-cam": [NoEvidence(f"{picture.name}: nothing speaks for it") for _ in targets]}

    monkeypatch.setattr(explainer, "explain_methods", silent)
    outcome, *_ = evaluated(explainer, small_bundle, data, tmp_path, limit=2)
    images = [
        (record["image"], row)
        for record in outcome.records
        for row in record["rows"]
        if row["method"] == "grad-cam"
    ]
    rows = [row for _, row in images]
    assert rows
    for image, row in images:
        assert set(row["metrics"].values()) == {None}
        assert row["note"] == f"no evidence: {image}: nothing speaks for it"
    full = [row for record in whole[1].records[:2] for row in record["rows"] if row["method"] == "grad-cam"]
    assert [list(row["metrics"]) for row in rows] == [list(row["metrics"]) for row in full]


@pytest.mark.parametrize("metric", ["drop", "deletion"])
def test_a_model_without_a_number_for_a_masked_copy_fails_the_picture(
    explainer, small_bundle, data, tmp_path, monkeypatch, metric
):
    real, seen = explainer.engine.forward, []

    def forward(images):
        seen.append(images)
        return real(images) * np.float32(1 if np.array_equal(images, seen[0]) else np.nan)

    monkeypatch.setattr(explainer.engine, "forward", forward)
    outcome, dataset, _ = evaluated(
        explainer, small_bundle, data, tmp_path, limit=1, metrics=(metric,), methods=("grad-cam",)
    )
    message = "the model's confidences are not finite for masked copies of this image"
    assert (outcome.records, told(outcome)) == ([], {dataset.samples[0].image: message})


def told(outcome):
    return {image: str(error) for image, error in outcome.failed.items()}


def test_pictures_that_fail_are_tried_again(whole, explainer, small_bundle, data, tmp_path, monkeypatch):
    real, broken = measure.measure, "3.png"

    def failing(explainer, picture, folder, sample, plan):
        if sample.image == broken:
            raise ImageError(f"{broken}: cannot be decoded")
        return real(explainer, picture, folder, sample, plan)

    monkeypatch.setattr(run, "measure", failing)
    outcome, *_ = evaluated(explainer, small_bundle, data, tmp_path)
    assert told(outcome) == {broken: f"{broken}: cannot be decoded"}
    assert len(outcome.records) == 5
    monkeypatch.setattr(run, "measure", real)
    outcome, *_ = evaluated(explainer, small_bundle, data, tmp_path)
    assert outcome.failed == {}
    assert table(tmp_path) == table(whole[0])


@pytest.mark.parametrize(
    ("method", "error"), [("sise:mu=7", MethodError), ("grad-cam", BundleError)], ids=["option", "bundle"]
)
def test_what_no_picture_is_to_blame_for_ends_the_run(
    explainer, small_bundle, data, tmp_path, monkeypatch, method, error
):
    if error is BundleError:

        def lacking(*_, **__):
            raise BundleError("the bundle has no gradients")

        monkeypatch.setattr(explainer, "explain_methods", lacking)
    with pytest.raises(error):
        evaluated(explainer, small_bundle, data, tmp_path, methods=(method,))


# -------------------- the command


def invoke(*arguments):
    """Exit code, standard output and error, as `sise_rt.commands.group.run` would have them."""
    runner = CliRunner()
    result = runner.invoke(command.evaluate, [str(argument) for argument in arguments], standalone_mode=False)
    if isinstance(result.exception, (SiseError, click.ClickException)):
        return 2, "", str(getattr(result.exception, "message", result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def options(small_bundle, data, tmp_path):
    base = ["-m", small_bundle, "--data", data, "--provider", "cpu", "-o", tmp_path / "report"]
    return [*base, "--format", "csv-boxes"]


def test_the_command(options, tmp_path, whole):
    measured = ("--method", ",".join(METHODS), "--metric", ",".join(METRICS), "--step", STEP)
    code, out, err = invoke(*options, *measured)
    report = tmp_path / "report"
    assert code == 0
    pairs = len(table(report)) // len(METHODS)
    assert f"6 pictures, {pairs} pairs (5 annotated, 6 predicted)" in out
    assert "with fewer than 20 pictures the intervals are too narrow" in out
    assert "class of the model (zebra) 1" in out
    assert err.splitlines()[-1] == "6 of 6 images"
    assert table(report) == table(whole[0])
    files = {"report.html", "results.csv", "rows.jsonl", "settings.json", "summary.json"}
    assert {path.name for path in report.iterdir()} == files
    summary = json.loads((report / "summary.json").read_text())
    assert summary["missing_classes"]["zebra"]["pairs"] == 1
    assert summary["counts"]["evaluated"] == 6


def test_the_papers_metrics_are_the_default(options, tmp_path):
    assert invoke(*options, "--limit", 1, "--quiet") == (0, "", "")
    settings = json.loads((tmp_path / "report" / "summary.json").read_text())["settings"]
    assert settings["metrics"] == ["ebpg", "miou", "bbox", "drop", "increase"]
    assert settings["methods"] == ["sise"]


def test_unreadable_pictures_are_listed_and_the_exit_code_says_so(options, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "2.png").write_bytes(b"no picture")
    name = os.fsdecode(b"5\xff<b>.png")
    (tmp_path / "data" / "5.png").rename(tmp_path / "data" / name)
    code, _, err = invoke(*options, "--data", tmp_path / "data", "--metric", "drop")
    assert code == 1
    assert "2.png: is no picture" in err
    assert err.splitlines()[-1] == "error: 1 of 5 images failed"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "2.png: is no picture" in page
    assert "5\\udcff&lt;b&gt;.png" in page
    assert "<b>.png" not in page


def test_where_memory_ends_the_batch_size_is_named(options, monkeypatch):
    def hungry(*_):
        raise MemoryError

    monkeypatch.setattr(run, "measure", hungry)
    code, _, err = invoke(*options, "--limit", 1, "--metric", "drop")
    assert code == 1
    assert re.search(r"^error: \d\.png: out of memory \(see --batch-size\)$", err, re.MULTILINE)


def test_arrays_are_pictures_and_what_is_left_out_is_named(options, data, tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    for i in range(3):
        shutil.copy(data / f"{i}.png", folder)
        np.save(folder / f"array{i}.npy", np.asarray(Image.open(data / f"{i}.png")))
    for name in ("x.heic", "y.heic", "z.dcm"):
        (folder / name).write_bytes(b"something")
    code, out, _ = invoke(*options, "--data", folder, "--format", "folder", "--metric", "drop")
    assert code == 0
    assert "left out or changed: file that is no picture by its suffix (.dcm, .heic) 3" in out
    confidence = {line["image"]: line["confidence"] for line in table(tmp_path / "report")}
    assert len(confidence) == 6
    for i in range(3):
        assert confidence[f"array{i}.npy"] == confidence[f"{i}.png"]


def test_pictures_of_16_bits_have_a_bit_depth(options, data, tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    for i in range(3):
        values = np.asarray(Image.open(data / f"{i}.png"))
        Image.fromarray(values).save(folder / f"{i}.png")
        np.save(folder / f"deep{i}.npy", np.rint(values / 255 * 4095).astype(np.uint16))
    asked = ("--data", folder, "--format", "folder", "--metric", "drop", "--quiet")
    assert invoke(*options, *asked, "--bit-depth", 12)[0] == 0
    confidence = {line["image"]: float(line["confidence"]) for line in table(tmp_path / "report")}
    for i in range(3):
        assert confidence[f"deep{i}.npy"] == pytest.approx(confidence[f"{i}.png"], abs=2e-3)
    code, _, err = invoke(*options, *asked, "--bit-depth", 16)
    assert code == 2
    assert "bit_depth: 12 there, 16 now" in err


def test_pictures_of_many_channels_with_masks(small_model, tmp_path):
    onnx = pytest.importorskip("onnx", reason="pip install '.[export]'")
    from sise_rt.export import export

    model = onnx.load(small_model)
    rng = np.random.default_rng(4)
    stem = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.conv.weight")
    values = rng.standard_normal((8, 5, 3, 3)).astype(np.float32)
    stem.CopyFrom(onnx.numpy_helper.from_array(values, stem.name))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(model, tmp_path / "five.onnx")
    bundle = export(tmp_path / "five.onnx", tmp_path / "five.sise", labels=list("abcde")).path
    for name in ("data/test/a", "data/ground_truth/a"):
        (tmp_path / name).mkdir(parents=True)
    areas, loaded = {}, sise_rt.load(bundle, "cpu")
    for i in range(3):
        truth = np.zeros((32, 32), bool)
        truth[4 * i : 20, 8:20] = True
        np.save(tmp_path / f"data/test/a/{i}.npy", rng.integers(0, 256, (32, 32, 5), np.uint8))
        np.save(tmp_path / f"data/ground_truth/a/{i}_mask.npy", truth)
        placement = loaded.prepare(tmp_path / f"data/test/a/{i}.npy").placement
        areas[f"test/a/{i}.npy"] = to_input(truth, placement).mean()
    base = ["-m", bundle, "--data", tmp_path / "data", "--format", "masks", "--provider", "cpu"]
    code, _, err = invoke(*base, "--metric", "ebpg,drop", "-o", tmp_path / "report")
    assert (code, err.splitlines()[-1]) == (0, "3 of 3 images")
    lines = [line for line in table(tmp_path / "report") if line["annotated"] == "1"]
    assert {line["image"]: float(line["truth_area"]) for line in lines} == areas


def test_no_agreement_with_the_annotations_is_a_warning(options, explainer, data, tmp_path):
    lines = ["image,class,x0,y0,x1,y1"]
    for i in range(6):
        best = explainer.engine.forward(explainer.prepare(data / f"{i}.png").tensor).argmax()
        lines.append(f"{i}.png,{'b' if best == 0 else 'a'},10,5,40,30")
    (tmp_path / "wrong.csv").write_text("\n".join(lines))
    code, out, err = invoke(*options, "--annotations", tmp_path / "wrong.csv", "--metric", "ebpg", "--quiet")
    assert (code, out) == (0, "")
    assert err.startswith("warning: the model predicts an annotated class on none of 6 pictures: ")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The model predicts an annotated class on none of 6 pictures: " in page


def test_what_is_left_out_of_pictures_is_counted_and_stands_in_every_row(small_bundle, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(4).integers(0, 256, (32, 32, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save(photos / "plain.png")
    Image.fromarray(pixels).save(photos / "clear.png")
    np.save(photos / "dark.npy", 16 * pixels[..., :3].astype(np.uint16))
    Image.fromarray(np.full((32, 32, 4), 0, np.uint8)).save(photos / "nothing.png")
    arguments = ["-m", small_bundle, "--data", photos, "--format", "folder", "--metric", "drop"]
    code, out, _ = invoke(*arguments, "--method", "sise,grad-cam", "-o", tmp_path / "report")
    assert code == 0
    assert "left out or changed: picture that was read with a note 3" in out
    clear, dark = "its transparency is left out", "if the picture is 12-bit data"
    expected = {"plain.png": "", "clear.png": clear, "nothing.png": clear, "dark.npy": dark}
    lines = table(tmp_path / "report")
    assert len(lines) == 2 * len(expected)
    assert all(expected[line["image"]] in line["note"] for line in lines)
    of_plain = {note for line in lines if line["image"] == "plain.png" for note in line["note"].split("; ")}
    assert all("the outer 5% of the picture" in note for note in of_plain - {""})  # which is told of the map
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    listed = dict(summary["problems"]["picture that was read with a note"]["listed"])
    assert {image: expected[image] in note for image, note in listed.items()} == dict.fromkeys(
        ("clear.png", "dark.npy", "nothing.png"), True
    )
    assert clear in (tmp_path / "report" / "report.html").read_text()


def test_a_row_without_evidence_has_the_notes_of_its_picture(explainer, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(tmp_path / "clear.png")
    nothing = {"sise": [NoEvidence("nothing speaks for it")]}
    monkeypatch.setattr(explainer, "explain_methods", lambda *_, **__: nothing)
    plan = Plan(requests=(parse("sise"),), metrics=("drop",), targets={})
    sample = Sample("clear.png", {})
    picture = measure.read_picture(explainer, tmp_path, sample, plan)
    (row,) = measure.measure(explainer, picture, tmp_path, sample, plan)["rows"]
    clear = "its transparency is left out: what it hides is seen"
    assert row["note"] == f"no evidence: nothing speaks for it; {clear}"


def test_two_runs_into_one_folder(options, tmp_path):
    with claimed(tmp_path / "report"):
        code, _, err = invoke(*options, "--limit", 1)
    assert code == 2
    assert f"{tmp_path / 'report'} is in use: process {os.getpid()} evaluates into it" in err
    assert list((tmp_path / "report").iterdir()) == []


def test_a_file_is_no_output_folder(options, tmp_path):
    (tmp_path / "labels.txt").write_text("mine")
    code, _, err = invoke(*options, "-o", tmp_path / "labels.txt")
    assert (code, err) == (2, f"{tmp_path / 'labels.txt'} is a file: name a folder (see --out)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "grad-cam,magic"], "no method 'magic'"),
        (["--method", "sise:mu=x"], "mu is 'x'"),
        (["--method", "sise:mu=7"], "mu is 7"),
        (["--method", ","], "name at least one"),
        (["--method", "rise:masks=5,rise:masks= 5"], "'rise:masks=5' and 'rise:masks= 5' are the same"),
        (["--method", "sise,grad-cam,sise:mu=0"], "'sise' and 'sise:mu=0' are the same"),
        (["--metric", "ebpg,beauty"], "no metric 'beauty'"),
        (["--format", "folder", "--metric", "ebpg"], "ebpg needs ground truth"),
        (["--data", "missing"], "no such folder: name the one of the data set (see --data)"),
        (["--metric", "drop", "--step", "3"], "insertion and deletion, which are not among the metrics"),
        (["--metric", "deletion", "--step", "1025"], "the model's input has 1024 pixels"),
        (["--format", "folder", "--annotations", "boxes.csv"], "--format folder has no such file"),
        (["--annotations", "missing.csv"], "missing.csv: cannot be read"),
        (["--annotations", "boxes.csv"], "boxes.csv: give that path (see --annotations)"),
        (["--format", "coco"], "here are none: name the file (see --annotations)"),
        (["--format", "voc"], "the first problem: image without annotation: 0.png"),
        (["--format", "masks"], "the first problem: image without annotation: 0.png (it has no class)"),
        (["--class-map", "missing.csv"], "missing.csv: cannot be read"),
        (["--only", "missing.txt"], "missing.txt: cannot be read"),
        (["--max-box-area", "0"], "range"),
        (["--max-box-area", "nan"], "a share must lie in"),
    ],
)
def test_wrong_use_is_one_message(options, arguments, message):
    code, _, err = invoke(*options, *arguments)
    assert code == 2
    assert message in err


def test_a_model_without_any_of_the_classes(options, tmp_path):
    (tmp_path / "only.txt").write_text("2\n")
    code, _, err = invoke(*options, "--only", tmp_path / "only.txt")
    assert code == 2
    assert "name them with --class-map" in err
    (tmp_path / "map.csv").write_text("zebra,a-z\n")
    assert "no label" in invoke(*options, "--class-map", tmp_path / "map.csv")[2]
    (tmp_path / "map.csv").write_text("zebra,0-4\nlion,a\n")
    code, out, _ = invoke(*options, "--only", tmp_path / "only.txt", "--class-map", tmp_path / "map.csv")
    assert code == 0
    assert "class of the class map without image 1" in out


def test_classes_that_no_metric_asks_for_are_not_left_out(options):
    code, out, _ = invoke(*options, "--metric", "drop", "--method", "grad-cam")
    assert code == 0
    assert "6 pictures, 6 pairs (0 annotated, 6 predicted)" in out
    assert "no class of the model" not in out


def test_a_missing_package_says_what_to_install(options, monkeypatch):
    monkeypatch.setattr(
        "sise_rt.commands.data_set.find_spec", lambda name: None if name == "jinja2" else object()
    )
    assert invoke(*options)[2] == "evaluate needs jinja2: pip install 'sise-rt[evaluate]'"


def test_metrics_without_a_value_are_said(options):
    code, out, err = invoke(*options, "--metric", "ebpg,miou", "--max-box-area", "1e-6")
    assert code == 1
    assert "no picture has a value of ebpg, miou; what was left out is listed in" in err
    assert "ebpg -, miou -" in out
