"""The figures of an evaluation against SciPy and plain loops; the page: whole, self-contained, safe."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from sise_rt.errors import SiseError
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.report import choose_cases, render
from sise_rt.evaluation.run import Outcome
from sise_rt.evaluation.samples import Problem, Sample, Truth
from sise_rt.evaluation.summary import LISTED, bootstrap, summarise
from sise_rt.methods import METHODS, Request

for needed in ("matplotlib", "jinja2"):
    pytest.importorskip(needed, reason="pip install '.[evaluate]'")

HOSTILE = '<script>alert("1")</script>&\'"><img src=x onerror=y>.png'


def called(label):
    """A request that is called anything."""
    name = label.split(":")[0]
    return Request(METHODS[name], METHODS[name].settings({}), label)


def row(method, metrics, label="dog", *, annotated=True, predicted=False, curves=None, **changes):
    base = {"class": label, "target": 3, "label": f"label {label}", "method": method, "annotated": annotated}
    base |= {"predicted": predicted, "difficult": False, "confidence": 0.5, "truth_area": 0.2, "kept": None}
    return base | {
        **{"passes": 10, "seconds": 0.5, "note": None, "metrics": metrics, "curves": curves or {}},
        **changes,
    }


def summarised(records, methods=("sise", "rise"), metrics=("ebpg",), missing=None, problems=(), failed=None):
    lacking = dict.fromkeys(missing or {}, Truth(boxes=((0, 0, 9, 9),)))
    samples = [Sample(record["image"], {"dog": None} | lacking) for record in records]
    dataset = SimpleNamespace(samples=samples, problems=list(problems))
    plan = Plan(requests=tuple(map(called, methods)), metrics=metrics, targets={"dog": (3,)})
    errors = {image: SiseError(message) for image, message in (failed or {}).items()}
    settings = {"model": "m", "format": "voc", "methods": list(methods), "metrics": list(metrics)}
    outcome = Outcome([{"right": None} | record for record in records], errors, (), settings)
    return summarise(outcome, dataset, plan, missing or {}, None)


def record(image, *rows):
    return {"image": image, "rows": list(rows), "problems": []}


# -------------------- figures


def test_the_interval_of_one_value_a_picture_against_scipy():
    values = np.random.default_rng(1).beta(2, 5, 60)
    columns = {f"{i}.png": [value] for i, value in enumerate(values)}
    means, intervals = bootstrap([columns], 20_000, seed=0)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert means[0] == pytest.approx(values.mean())
    np.testing.assert_allclose(intervals[0], reference, atol=0.003)
    assert intervals[0][1] - intervals[0][0] > 0.05


def test_pictures_are_drawn_and_not_pairs():
    rng = np.random.default_rng(2)
    pictures = {f"{i}": [level] * int(rng.integers(1, 9)) for i, level in enumerate(rng.random(25))}
    pictures["nan"] = [np.nan, 0.3]
    means, intervals = bootstrap([pictures], 8000)
    keys, draws = list(pictures), []
    for _ in range(8000):  # as plainly as it can be said
        drawn = np.concatenate([pictures[keys[i]] for i in rng.integers(0, len(keys), len(keys))])
        draws.append(np.nanmean(drawn))
    pairs = np.concatenate(list(pictures.values()))
    assert means[0] == pytest.approx(np.nanmean(pairs))
    np.testing.assert_allclose(intervals[0], np.percentile(draws, [2.5, 97.5]), atol=0.01)
    pairs = pairs[np.isfinite(pairs)]
    narrow = stats.bootstrap((pairs,), np.mean, method="percentile", rng=rng).confidence_interval
    assert np.ptp(intervals[0]) > 1.5 * np.ptp(narrow)  # pairs of one picture are not independent


@pytest.mark.parametrize(
    ("column", "mean", "has_interval"),
    [
        ({}, None, False),
        ({"a": [np.nan]}, None, False),
        ({"a": [0.25, 0.75]}, 0.5, False),
        ({"a": [0.5], "b": [np.nan]}, 0.5, False),
        ({"a": [0.0], "b": [1.0]}, 0.5, True),
    ],
)
def test_few_values(column, mean, has_interval):
    means, intervals = bootstrap([column])
    assert means == [mean]
    assert (intervals[0] is not None) == has_interval


def test_summary_counts_means_and_differences():
    rng = np.random.default_rng(4)
    records, first, second = [], [], []
    for i in range(30):
        a, b = rng.random(2)
        b = b if i % 5 else None
        rows = [row("sise", {"ebpg": a}), row("rise", {"ebpg": b}, passes=100, seconds=2.0)]
        records.append(record(f"{i}.png", *rows))
        first.append(a)
        second.append(np.nan if b is None else b)
    first, second = np.array(first), np.array(second)
    summary = summarised(records, missing={"yak": "no label"}, failed={"x.png": "broken"})
    sise, rise = (summary["methods"][name]["metrics"]["ebpg"] for name in ("sise", "rise"))
    assert (sise["count"], sise["nan"], rise["count"], rise["nan"]) == (30, 0, 24, 6)
    assert sise["mean"] == pytest.approx(first.mean())
    assert [rise["mean"], rise["class_mean"]] == pytest.approx([np.nanmean(second)] * 2)
    assert sise["difference"] is None
    assert rise["difference"]["count"] == 24
    difference = (second - first)[np.isfinite(second)]
    assert rise["difference"]["mean"] == pytest.approx(difference.mean())
    reference = stats.bootstrap((difference,), np.mean, method="percentile", rng=rng).confidence_interval
    np.testing.assert_allclose(rise["difference"]["interval"], reference, atol=0.03)
    assert rise["classes"] == {"dog": {"count": 24, "mean": pytest.approx(np.nanmean(second))}}
    assert (summary["methods"]["rise"]["passes"], summary["methods"]["rise"]["seconds"]) == (100, 2.0)
    counts = summary["counts"]
    assert (counts["pairs"], counts["annotated"], counts["predicted"], counts["failed"]) == (30, 30, 0, 1)
    assert summary["missing_classes"] == {"yak": {"pairs": 30, "reason": "no label"}}


def test_the_class_mean_gives_each_class_the_same_weight():
    records = [record(f"{i}.png", row("sise", {"ebpg": 0.2})) for i in range(9)]
    records.append(record("9.png", row("sise", {"ebpg": 0.8}, "cat")))
    figures = summarised(records, methods=("sise",))["methods"]["sise"]["metrics"]["ebpg"]
    assert figures["mean"] == pytest.approx(0.26)
    assert figures["class_mean"] == pytest.approx(0.5)


def test_problems_are_counted_and_only_the_first_are_listed():
    problems = [Problem("empty mask", str(i)) for i in range(LISTED + 7)]
    found = summarised([record("a.png")], problems=problems)["problems"]["empty mask"]
    assert (found["count"], len(found["listed"])) == (LISTED + 7, LISTED)


def test_mean_curves():
    curves = [{"deletion": np.linspace(1, end, 51).tolist()} for end in (0, 0.5)]
    records = [record(f"{i}", row("sise", {"deletion": 0.5}, curves=c)) for i, c in enumerate(curves)]
    summary = summarised(records, methods=("sise",), metrics=("deletion",))
    curve = summary["methods"]["sise"]["curves"]["deletion"]
    assert curve["count"] == 2
    np.testing.assert_allclose(curve["confidence"], np.linspace(1, 0.25, 51), atol=1e-4)


@pytest.mark.parametrize("metric", ["ebpg", "drop"])
def test_best_median_and_worst(metric):
    values = [0.3, 0.9, None, 0.1, 0.5, 0.7]
    records = [record(f"{v}", row("sise", {metric: v}), row("rise", {metric: 0.0})) for v in values]
    chosen = [(title, found["image"]) for title, found, _ in choose_cases(records, metric, "sise")]
    order = ["0.9", "0.5", "0.1"] if metric == "ebpg" else ["0.1", "0.5", "0.9"]
    assert chosen == list(zip(("Best", "Median", "Worst"), order, strict=True))
    two = [title for title, *_ in choose_cases(records[:2], metric, "sise")]
    assert two == ["Best", "Worst"]
    assert [title for title, *_ in choose_cases(records[:1], metric, "sise")] == ["Best"]
    assert choose_cases(records[2:3], metric, "sise") == []


# -------------------- the page


class Page(HTMLParser):
    """Checks that every element is closed in order; collects what refers elsewhere, ids and images."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.ids, self.images = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        self.references += [
            v for k, v in attrs if k.split(":")[-1] in ("href", "src", "srcset", "data", "action")
        ]
        self.references += re.findall(r"url\(([^)]*)\)", attributes.get("style") or "")
        self.references += re.findall(r"url\(([^)]*)\)", attributes.get("clip-path") or "")
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.images += [attributes] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    """Everything that may come from outside is hostile."""
    rng = np.random.default_rng(6)
    curve = {name: rng.random(51).tolist() for name in ("insertion", "deletion")}
    names, records = ("ebpg", "drop", "insertion", "deletion"), []
    methods = ("sise", f"rise:$x_${HOSTILE}")
    for i in range(8):
        values = [dict(zip(names, rng.random(4), strict=True)) for _ in methods]
        rows = [
            row(method, value, HOSTILE, predicted=True, curves=curve, passes=10 ** (k + 1))
            for k, (method, value) in enumerate(zip(methods, values, strict=True))
        ]
        records.append(record(f"{i}{HOSTILE}", *rows))
    summary = summarised(
        records,
        methods=methods,
        metrics=names,
        missing={HOSTILE: HOSTILE},
        problems=[Problem(HOSTILE, HOSTILE, HOSTILE)],
        failed={HOSTILE: HOSTILE, "b.png": "no picture"},
    )
    picture = {"data": "data:image/jpeg;base64,AAAA", "alt": HOSTILE, "caption": HOSTILE}
    case = {"title": "Best", "value": "9.9", "label": HOSTILE, "image": HOSTILE, "failed": HOSTILE}
    return render(summary, [case | {"pictures": [picture]}], "EBPG"), summary


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    text, _ = page
    parsed = Page(text)
    assert parsed.references
    assert all(ref.startswith(("#", "data:image/jpeg;base64,")) for ref in parsed.references)
    targets = [ref[1:] for ref in parsed.references if ref.startswith("#")]
    assert set(targets) <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert "<link" not in text
    assert "@import" not in text
    outside = set(re.findall(r"https?://[^\s\"'<>)]*", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not places


def test_hostile_names_stay_text(page):
    text, _ = page
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert len(parsed.images) == 1
    assert "onerror" not in parsed.images[0]
    assert text.count("&lt;script&gt;") >= 10
    assert "<script" not in text


def test_the_page_can_be_read_by_everybody(page):
    text, _ = page
    parsed = Page(text)
    assert parsed.tags.count("svg") == 2
    assert text.count('role="img"') == text.count('role="img" aria-label=') == 2
    assert all(image["alt"] for image in parsed.images)
    assert parsed.tags.count("caption") == 1
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert "#123456" not in text


def test_the_table_says_what_the_summary_says(page):
    text, summary = page
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    lines = body.split("<tr>")[1:]
    for line, metric in zip(lines, ("ebpg", "drop", "insertion", "deletion"), strict=False):
        cells = re.findall(r"<td.*?</td>", line, re.DOTALL)
        figures = [entry["metrics"][metric] for entry in summary["methods"].values()]
        means = [f["mean"] for f in figures]
        for cell, found in zip(cells, figures, strict=True):
            assert f"{100 * found['mean']:.1f}" in cell
            low, high = found["interval"]
            assert f"[{100 * low:.1f}, {100 * high:.1f}]" in cell
            best = min(means) if metric in ("drop", "deletion") else max(means)
            low, high = figures[1]["difference"]["interval"]
            assert ("<b>" in cell) == (found["mean"] == best and not low <= 0 <= high)
            if found["difference"]:
                assert f"Δ {100 * found['difference']['mean']:+.1f}" in cell


@pytest.mark.parametrize("metric", ["ebpg", "drop"])
@pytest.mark.parametrize(
    ("leads", "clear"),
    [
        ((0.1, 0.2), True),
        ((0.1, 0.001), False),
        ((0.05, 0.05), True),
    ],  # of the third over the first and second
)
def test_best_is_said_only_of_a_clear_difference(metric, leads, clear):
    rng = np.random.default_rng(8)
    sign = -1 if metric == "drop" else 1
    names = ("sise", "rise", "grad-cam")
    records = []
    for i in range(12):
        base = 0.5 + 0.1 * rng.standard_normal()  # pictures differ by far more than methods
        noise = np.array([0.0, 0.03 * (-1) ** i, 0.0])
        values = base + noise - sign * np.array([*leads, 0.0])
        rows = [row(name, {metric: v}) for name, v in zip(names, values.tolist(), strict=True)]
        records.append(record(f"{i}.png", *rows))
    methods = summarised(records, methods=names, metrics=(metric,))["methods"]
    assert [methods[name]["metrics"][metric]["best"] for name in names] == [False, False, clear]
    body = render(summarised(records, methods=names, metrics=(metric,)))
    assert body.count("<b>") == clear


def test_a_page_without_any_value():
    summary = summarised([record("a.png", row("sise", {"ebpg": None}))], methods=("sise",))
    text = render(summary)
    Page(text)
    assert "–" in text
    assert "n = 0, 1 without value" in text
    Page(render(summarised([])))
