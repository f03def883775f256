"""The page in a browser: it prints on one sheet of A4, and nothing of it is refused or runs."""

import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from sise_rt.cautions import Caution
from sise_rt.metrics.check import check_region

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run")
A4 = 595, 842  # points
LONG = "Welwitschia mirabilis, tree tumbo, " * 40


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A function that runs a browser with some arguments on a page, and gives what it printed."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    profile = tmp_path_factory.mktemp("profile")
    own = [f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        own.append("--no-sandbox")  # Chromium has none for root

    def run(html, *arguments):
        path = profile / "page.html"
        path.write_text(html, "utf-8")
        command = [program, *QUIET, *own, *arguments, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    return run


@pytest.fixture(scope="module")
def sheets(browser, tmp_path_factory):
    """A function that prints a page, and gives the (width, height) of each sheet in points."""
    pdf = tmp_path_factory.mktemp("print") / "page.pdf"

    def printed(html):
        browser(html, "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
        boxes = re.findall(
            rb"/Type /Page\b.*?/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes(), re.DOTALL
        )
        return [(round(float(width)), round(float(height))) for width, height in boxes]

    return printed


@pytest.fixture(scope="module")
def checked(explainer, explanation):
    return check_region(explainer.engine, explanation)


def crowded(explanation):
    """As much on the page as can be."""
    best = tuple(replace(prediction, label=LONG) for prediction in explanation.best)
    cautions = tuple(Caution("bundle", LONG) for _ in range(20))
    return replace(
        explanation,
        name=f"/{LONG}/{LONG}.png",
        model=LONG,
        label=LONG,
        best=best,
        blocks=explanation.blocks * 5,
        warnings=cautions,
        assumed=(LONG,) * 5,
        device=LONG,
    )


def test_it_prints_on_one_sheet(checked, sheets):
    assert sheets(checked.html()) == [A4]


def test_whatever_is_on_it(checked, sheets):
    assert sheets(crowded(checked).html()) == [A4]


@pytest.mark.parametrize("shape", [(1, 1), (60, 900), (60, 300), (900, 60), (120, 160)])
def test_pictures_of_any_shape_print_on_one_sheet(explainer, checked, sheets, shape):
    rows, columns = shape
    pixels = checked.picture.pixels
    pixels = pixels.repeat(6, 0).repeat(6, 1)[:rows, :columns].copy()
    assert sheets(explainer.explain(pixels, "patch").html()) == [A4]


def test_a_second_sheet_would_be_seen(checked, sheets):
    html = checked.html().replace("</main>", "</main>" + "<p>more</p>" * 100)
    assert len(sheets(html)) > 1


def messages(ran) -> list[str]:
    return [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def test_the_policy_lets_its_own_style_pass_and_no_other(checked, browser):
    asked = ("--enable-logging=stderr", "--dump-dom")
    assert messages(browser(checked.html(), *asked)) == []
    altered = checked.html().replace("<style>", "<style>p { color: red; } ")
    assert any("Content Security Policy" in line for line in messages(browser(altered, *asked)))


def test_names_from_anywhere_do_nothing(checked, browser, read):
    hostile = "</title></style><img src=x onerror='ran()'><script>"
    named = replace(checked, name=hostile, model=hostile, label=hostile)
    page = read(browser(named.html(), "--dump-dom").stdout)
    assert not page.all("script")
    assert not [names for _, names in page.elements if "onerror" in names]
    assert hostile in page.text
    assert page.title.startswith(hostile)
