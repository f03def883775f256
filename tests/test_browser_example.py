"""The page that explains in the browser: what it reads of a file, its map against Python's, and its words."""

import json
import re
import shutil
import subprocess

import numpy as np
import onnx
import pytest
from PIL import Image
from sise_rt.export.single_file import export_single_file

from benchmarks.browser import ISOLATED, PAGE, built, explained_in, lay_out, served
from docs.chromium import installed, opened
from sise_rt.pictures.placement import preprocess, seen_rectangle
from sise_rt.preprocessing import Preprocess
from sise_rt.running.one_graph import open_single_file

SIZE = (48, 36)  # of the picture, width first
POLICY = re.search('Content-Security-Policy" content="([^"]+)"', (PAGE / "index.html").read_text())[1]
PHASE = "document.getElementById('main').dataset.phase"
READY, DONE, FAILED = (f"{PHASE} === '{name}'" for name in ("ready", "done", "failed"))
node = pytest.mark.skipif(shutil.which("node") is None, reason="no Node is installed")


@pytest.fixture(scope="module")
def model(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "explain.onnx"
    labels = ["a", "b", "<b>bold</b>", "d", "ä"]
    export_single_file(small_model, path, labels=labels, preprocessing_inside=True, required_inputs=True)
    return path


@pytest.fixture(scope="module")
def pixels():
    coarse = np.random.default_rng(3).integers(0, 256, (SIZE[1] // 4, SIZE[0] // 4, 3), np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


# -------------------- what it reads of a file


def asked(expression, *files):
    """What an expression of the names in `facts.js`, and of the files' bytes, is in Node: JSON."""
    script = (
        f"import {{ metadata, factsOf, seenBy }} from {json.dumps((PAGE / 'facts.js').as_uri())};"
        "import { readFileSync } from 'node:fs';"
        f"const files = {json.dumps([str(file) for file in files])}.map((file) => readFileSync(file));"
        "const told = (work) => { try { return work(); } catch (error) { return error.message; } };"
        f"console.log(JSON.stringify({expression}));"
    )
    command = ["node", "--input-type=module", "-e", script]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


@node
def test_metadata_is_read_without_a_library(model):
    entries = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    found, facts = asked("[metadata(files[0], 'm'), factsOf(files[0], 'm')]", model)
    assert found == entries
    assert facts["labels"] == json.loads(entries["labels"])
    assert facts["preprocessing"]["input_size"] == [3, 32, 32]
    assert facts["method"] == "sise"


@node
def test_other_files_are_refused_in_words(model, small_model, tmp_path):
    other = onnx.load(model)
    said = {entry.key: entry for entry in other.metadata_props}
    said["sise_rt.picture"].value = "false"
    onnx.save(other, tmp_path / "prepared.onnx")
    said["sise_rt.format"].value = "2"
    onnx.save(other, tmp_path / "newer.onnx")
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:5000])
    (tmp_path / "text.onnx").write_text("no model at all")
    (tmp_path / "empty.onnx").write_bytes(b"")
    Image.new("RGB", SIZE).save(tmp_path / "picture.png")
    names = ("prepared.onnx", "newer.onnx", "cut.onnx", "text.onnx", "empty.onnx", "picture.png")
    files = [small_model, *(tmp_path / name for name in names)]
    plain, prepared, newer, *broken = asked("files.map((file) => told(() => factsOf(file, 'm')))", *files)
    assert plain.startswith("m is a model that does not explain itself.")
    assert "--with-preprocessing" in prepared
    assert newer == "m is of format 2, and this page knows 1."
    assert broken == ["m is no ONNX file, or is not whole."] * 4


@node
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", None),
        ("labels", "{"),
        ("labels", "[1]"),
        ("preprocessing", "null"),
        ("preprocessing", "{}"),
        ("preprocessing", '{"input_size": [3, 0, 8], "crop_pct": 1, "crop_mode": "center"}'),
        ("sise_rt.warnings", '"text"'),
    ],
)
def test_metadata_of_another_shape_are_refused_by_name(model, tmp_path, key, value):
    other = onnx.load(model)
    entry = next(entry for entry in other.metadata_props if entry.key == key)
    if value is None:
        other.metadata_props.remove(entry)
    else:
        entry.value = value
    onnx.save(other, tmp_path / "other.onnx")
    told = asked("told(() => factsOf(files[0], 'm'))", tmp_path / "other.onnx")
    assert told.startswith(f"m says nothing of use in its metadata {key}. Export it again: sise-rt export")


@node
def test_a_file_without_labels_has_none(model, tmp_path):
    other = onnx.load(model)
    next(entry for entry in other.metadata_props if entry.key == "labels").value = "null"
    onnx.save(other, tmp_path / "other.onnx")
    assert asked("factsOf(files[0], 'm').labels", tmp_path / "other.onnx") == []


@node
def test_where_the_model_looks():
    cases, expected = [], []
    for mode, share, assumed in (("center", 0.875, False), ("squash", 0.9, False), ("center", 1.0, True)):
        for shape in ((3, 32, 32), (3, 24, 40)):
            spec = Preprocess(shape, "bilinear", share, mode, (0, 0, 0), (1, 1, 1), "RGB", 1, 8, assumed)
            keys = {"input_size": shape, "crop_pct": share, "crop_mode": mode, "crop_assumed": assumed}
            for width, height in ((400, 300), (300, 400), (40, 24), (32, 32), (1000, 90)):
                cases.append([keys, width, height])
                _, placement = preprocess(np.zeros((height, width, 3), np.uint8), spec)
                expected.append(seen_rectangle(placement))
    for (_, width, height), seen, edges in zip(
        cases, asked(f"{json.dumps(cases)}.map((each) => seenBy(...each))"), expected, strict=True
    ):
        found = [seen["left"], seen["top"], seen["left"] + seen["width"], seen["top"] + seen["height"]]
        pixel = max(width, height) / 24  # of the input, in the picture
        np.testing.assert_allclose(found, edges, atol=pixel)


# -------------------- in Chromium


@pytest.fixture(scope="module")
def page(model, pixels, tmp_path_factory):
    """The page's tab, and its address; its server sends what the document asks of servers."""
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed")
    if not built():
        pytest.skip(
            "no ONNX Runtime in examples/browser: npm install --ignore-scripts && npm run build there"
        )
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(pixels).save(folder / "made.png")
    lay_out(folder, model, folder / "made.png")
    headers = {"Content-Security-Policy": POLICY, **ISOLATED}
    with served(folder, headers) as address, opened(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab, address, folder


@pytest.fixture
def tab(page):
    """The open page with its model; what it says on its console fails the test."""
    tab, address, _ = page
    tab.errors.clear()
    tab.requests.clear()
    tab.open(address)
    tab.until(READY)
    yield tab
    assert tab.errors == []
    assert all(request.startswith(address.rsplit("/", 1)[0]) for request in tab.requests)


@pytest.mark.parametrize("masks", [8, 2**31 - 1])
def test_its_map_is_pythons(tab, model, pixels, masks):
    own = open_single_file(model).explain(pixels, max_masks=masks)
    found = explained_in(tab, masks)
    np.testing.assert_allclose(found.map, own.map, atol=1e-3)
    assert (found.target, found.scored) == (own.target, own.masks)
    assert found.confidence == pytest.approx(own.confidence, abs=1e-5)


def test_a_picture_is_explained(tab, page, model, pixels):
    own = open_single_file(model).explain(pixels, max_masks=50)
    tab.choose(page[2] / "picture.png", "#file")
    tab.until(DONE)
    label = open_single_file(model).facts.labels[own.target]
    assert tab.text("#target") == f"{label} ({own.target})"
    assert (
        tab.text("#decision") == f"This is the model's decision, with a confidence of {own.confidence:.3f}."
    )
    assert tab.text("#cost").startswith(f"{own.masks} of {own.kept.sum()} masks scored, ")
    assert "rests on what it sees there" in tab.text("#meaning")
    assert tab.run("document.getElementById('map').width") == own.map.shape[1]
    # The brightest pixel of the canvas is the highest value of the map.
    brightest = tab.run(
        "(() => { const map = document.getElementById('map'); const { data } = map.getContext('2d')"
        ".getImageData(0, 0, map.width, map.height); let best = 0; for (let i = 0; i < data.length / 4; i++)"
        " if (data[4 * i + 3] > data[4 * best + 3]) best = i; return best; })()"
    )
    assert own.map.reshape(-1)[brightest] > 0.99


def test_another_class_and_the_slider(tab, page):
    tab.choose(page[2] / "picture.png", "#file")
    tab.until(DONE)
    decision = tab.text("#target")
    tab.click("#best li:nth-child(2) button")
    tab.until(f"document.getElementById('over').textContent === 'Explained' && {PHASE} !== 'running'")
    assert tab.text("#target") != decision
    assert f"Its decision is {decision}." in tab.text("#decision")
    tab.run("document.getElementById('opacity').focus()")
    tab.press("ArrowLeft")
    assert tab.run("document.getElementById('map').style.opacity") == "0.84"


def test_what_is_wrong_is_said(tab, page, small_model, tmp_path):
    (tmp_path / "torn.png").write_bytes((page[2] / "picture.png").read_bytes()[:60])
    tab.choose(tmp_path / "torn.png", "#file")
    tab.until(FAILED)
    assert tab.text("#notice").startswith("torn.png cannot be read as a picture by this browser")
    tab.choose(small_model, "#model-file")
    tab.until("document.getElementById('notice').textContent.includes('does not explain itself')")
    tab.choose(page[2] / "picture.png", "#file")
    tab.until(READY)
    assert tab.text("#notice") == "The picture is here; a model is missing. Choose one."


def test_a_run_is_stopped_by_ending_its_worker(tab, page):
    tab.run(
        "import('./engine.js').then(({ Engine }) => { const own = Engine.prototype.explain;"
        "window.mend = () => (Engine.prototype.explain = own);"
        "Engine.prototype.explain = (...asked) => new Promise(() => {}); })"
    )
    tab.choose(page[2] / "picture.png", "#file")
    tab.until(f"{PHASE} === 'running'")
    tab.click("#stop")
    tab.until(READY)
    assert tab.text("#notice") == "Stopped."
    assert not tab.run("document.getElementById('work').checkVisibility()")
    tab.run("void window.mend()")
    tab.click("#redo")
    tab.until(DONE)


def test_the_last_picture_is_explained(tab, page):
    Image.new("RGB", (200, 100), "red").save(page[2] / "wide.png")
    for _ in range(3):
        tab.choose(page[2] / "picture.png", "#file")
        tab.choose(page[2] / "wide.png", "#file")
    tab.until(f"{DONE} || {FAILED}")
    shape = tab.run("[document.getElementById('picture').width, document.getElementById('picture').height]")
    assert shape == [600, 300]
    assert tab.run("parseFloat(document.getElementById('map').style.width)") == pytest.approx(50, abs=1)
