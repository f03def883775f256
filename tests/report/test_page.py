"""The page: one file with everything in it, whatever the names and numbers are."""

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

import sise_rt
from sise_rt.metrics.check import check_region
from sise_rt.pictures.placement import Placement
from sise_rt.report.figures import where
from sise_rt.report.sentences import share

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m\udcff&amp;"
WHOLE = Placement((6, 6), (6, 6), 0, 0, (6, 6))
PASSIVE = {
    "main",
    "header",
    "section",
    "figure",
    "figcaption",
    "div",
    "span",
    "h1",
    "h2",
    "p",
    "ul",
    "li",
    "dl",
}
PASSIVE |= {"html", "head", "body", "meta", "title", "style", "img", "svg", "rect", "code", "dt", "dd"}
PASSIVE |= {"table", "tbody", "tr", "th", "td"}


@pytest.fixture(scope="module")
def checked(explainer, explanation):
    return check_region(explainer.engine, explanation)


def require_passive(page) -> None:
    """Nothing that loads, runs, or leads elsewhere."""
    assert {tag for tag, _ in page.elements} <= PASSIVE
    for tag, attributes in page.elements:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("href", "style", "action")
        ]
        if "src" in attributes:
            assert tag == "img"
            assert attributes["src"].startswith("data:image/jpeg;base64,")
            assert attributes["alt"]


def decoded(address):
    data = base64.b64decode(address.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_it_tells_what_it_is_for(checked, read):
    page = read(checked.html())
    require_passive(page)
    pictures = [decoded(image["src"]) for image in page.all("img")]
    assert [shown.shape[:2] for shown in pictures[:2]] == [(900, 900)] * 2
    assert len(pictures) == 3 + len(checked.blocks)
    assert (
        np.corrcoef(cv2.resize(pictures[0], (160, 160)).ravel(), checked.pixels()[..., ::-1].ravel())[0, 1]
        > 0.9
    )
    assert len(checked.html()) < 1_000_000
    record = checked.record()
    region = record["check"]["region"]
    for text in (
        "The model decides for pit (2), with a confidence of 0.988.",
        "What mattered most is at the bottom centre;",
        "If the marked region is hidden",
        f"{region['alone']:.3f}",
        "How to read it",
        "no proof of cause",
        f"all {checked.masks} masks scored",
        record["picture"]["sha256"],
        record["bundle"]["sha256"],
        record["bundle"]["source"]["sha256"],
        f"sise-rt {sise_rt.__version__}",
        record["time"][:10],
        *(prediction.label for prediction in checked.best),
        *(block.name for block in checked.blocks),
    ):
        assert text in page.text
    assert "To be heeded" not in page.text


def test_the_region_is_left_out_where_it_was_not_asked(explanation, checked, read):
    assert "hidden elsewhere" in read(checked.html()).text
    assert "hidden elsewhere" not in read(explanation.html()).text


def test_bars_are_as_long_as_the_confidences(checked, read):
    widths = [float(bar["width"]) for bar in read(checked.html()).all("rect") if bar["class"] == "part"]
    region = checked.record()["check"]["region"]
    values = [prediction.confidence for prediction in checked.best]
    values += [region["whole"], region["hidden"], region["random"]["mean"], region["alone"]]
    np.testing.assert_allclose(widths, 100 * np.array(values), atol=0.006)


def test_no_folder_of_the_picture_is_handed_on(explanation):
    for name in ("/home/somebody/secret project/pit.png", r"C:\Users\somebody\pit.png"):
        html = replace(explanation, name=name).html()
        assert "somebody" not in html
        assert "pit.png" in html


def test_names_from_anywhere_are_text(checked, read):
    best = tuple(replace(prediction, label=HOSTILE) for prediction in checked.best)
    blocks = tuple(replace(block, name=HOSTILE) for block in checked.blocks)
    warning = sise_rt.cautions.Caution("bundle", HOSTILE)
    named = replace(checked, name=f"/x/{HOSTILE}", model=HOSTILE, label=HOSTILE, best=best, blocks=blocks)
    named = replace(named, warnings=(warning,), assumed=(HOSTILE,), device=HOSTILE, provider=HOSTILE)
    html = named.html()
    html.encode("utf-8")
    assert "\u202e" not in html
    page = read(html)
    require_passive(page)
    assert "<script>alert(1)</script>" in page.text
    notebook = read(named._repr_html_())
    assert {tag for tag, _ in notebook.elements} == {"div", "img", "p"}


def test_what_is_explained_stands_among_the_best_classes(explainer, explanation, read):
    other = explainer.explain(explanation.picture, "scratch")
    page = read(other.html())
    assert f"Explained is scratch ({other.target})" in page.text
    none_of_them = replace(explanation, best=explanation.best[1:3], label="other", target=9)
    assert "other (9) (explained)" in read(none_of_them.html()).text


def test_many_classes_leave_a_rest(explanation, read):
    best = tuple(replace(prediction, confidence=0.1) for prediction in explanation.best)
    assert re.search(r"all others together\s+0\.500", read(replace(explanation, best=best).html()).text)
    assert "all others" not in read(explanation.html()).text
    assert "all others" not in read(replace(explanation, best=best, activation="sigmoid").html()).text


def test_an_output_that_is_no_confidence_has_no_bar(explanation, read):
    best = (replace(explanation.best[0], label="age", confidence=-37.2),)
    page = read(replace(explanation, activation="none", confidence=-37.2, best=best).html())
    assert "−37.2" in page.text
    assert not page.all("svg")


def test_a_method_without_blocks(explainer, explanation, read):
    page = read(explainer.explain(explanation.picture, method="grad-cam").html())
    assert "Block by block" not in page.text
    assert "by this method's account" in page.text


def test_a_block_without_a_map(explanation, read):
    blocks = (replace(explanation.blocks[0], visualization=None), *explanation.blocks[1:])
    assert "no usable map" in read(replace(explanation, blocks=blocks).html()).text


def test_warnings_are_told_with_their_codes(explanation, read):
    warnings = tuple(sise_rt.cautions.Caution("fewer-bits", f"caution {i} " + 400 * "x") for i in range(7))
    page = read(replace(explanation, warnings=warnings).html())
    assert page.text.count("fewer-bits") == 4
    assert "Caution 3" in page.text
    assert "3 more stand in the record." in page.text
    one = "x " * 250 + "the confidence is 0.123, and elsewhere 0.062"
    whole = read(replace(explanation, warnings=(sise_rt.cautions.Caution("bundle", one),)).html())
    assert one[1:] in whole.text


@pytest.mark.parametrize("shape", [(1, 2), (7, 9), (5, 400), (400, 5), (3000, 3000)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_any_size(explainer, explanation, shape, dtype, read):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, np.iinfo(dtype).max, (*shape, 3), dtype, endpoint=True)
    try:
        explained = explainer.explain(picture, 0, method="grad-cam", bit_depth=None)
    except sise_rt.NoEvidence:
        explained = explainer.explain(picture, 1, method="grad-cam")
    page = read(explained.html())
    require_passive(page)
    assert f"{shape[1]} × {shape[0]} pixels of {8 * np.dtype(dtype).itemsize} bits" in page.text


def test_what_was_assumed_is_told_in_words(explanation, read):
    assumed = ("crop_pct 0.875", "input size 160x160", "activation softmax, as for the source's")
    page = read(replace(explanation, assumed=assumed).html())
    told = "the crop's share of a side is 0.875; input size 160x160; activation softmax, as for the source's"
    assert told in page.text
    assert "Assumed" not in read(explanation.html()).text


def test_what_was_taken_from_the_models_files(explanation, read):
    assert "Taken from its files" not in read(explanation.html()).text
    lines = ("from preprocessor_config.json: mean 0.5", "from config.json: 5 labels")
    provenance = replace(explanation.provenance, described=lines)
    made = replace(explanation, provenance=provenance)
    assert made.record()["described"] == list(lines)
    assert "preprocessor_config.json: mean 0.5; config.json: 5 labels" in read(made.html()).text


def test_where_the_bundle_comes_from(explanation, read):
    source = explanation.provenance.source
    assert f"{source.name} ({source.format}, {source.producer})" in read(explanation.html()).text
    unknown = replace(explanation.provenance, source=type(source)())
    page = read(replace(explanation, provenance=unknown).html())
    assert "of unknown source" in page.text
    assert "SHA-256 of its source" not in page.text
    assert "after the export" not in page.text
    amended = replace(explanation.provenance, amended=("labels", "mean"))
    told = read(replace(explanation, provenance=amended).html()).text
    assert "; stated anew after the export: labels, mean" in told


def test_a_map_of_zeros(explanation, read):
    empty = replace(explanation, map=np.zeros_like(explanation.map))
    assert "Nothing in this picture stood out." in read(empty.html()).text


@pytest.mark.parametrize(
    ("row", "column", "text"), [(0, 0, "top left"), (5, 3, "bottom centre"), (2, 5, "middle right")]
)
def test_where_the_map_is_highest(row, column, text):
    map_ = np.zeros((6, 6), np.float32)
    map_[row, column] = 1
    told = f"What mattered most is at the {text}; the line goes around 2.8 % of what the model saw."
    assert where(map_, WHOLE) == told
    everywhere = where(np.ones((3, 3)), WHOLE)
    assert (
        everywhere == "What mattered most is in the middle; the line goes around 100 % of what the model saw."
    )


def test_the_page_has_one_share_of_the_region(checked, read):
    text, area = read(checked.html()).text, checked.record()["check"]["region"]["area"]
    assert f"the line goes around {share(area)} of what the model saw." in text
    assert f"The region is {share(area)} of what the model saw." in text


def test_a_page_needs_the_picture(explanation, read):
    alone = replace(explanation, picture=None)
    with pytest.raises(sise_rt.ArgumentError, match="does not hold its picture"):
        alone.html()
    assert read(alone.html(explanation.picture)).all("img")
    assert "img" not in alone._repr_html_()
    assert "decides for pit" in alone._repr_html_()


def test_it_is_saved_beside_the_others(explanation, tmp_path):
    files = explanation.save(tmp_path, report=True)
    assert [file.name for file in files] == [f"surface.2.{end}" for end in ("png", "npy", "json", "html")]
    assert files[-1].read_text("utf-8") == explanation.html()
    (tmp_path / "surface.2.json").unlink()
    with pytest.raises(sise_rt.OutputError, match="is no result of this kind"):
        explanation.save(tmp_path)
