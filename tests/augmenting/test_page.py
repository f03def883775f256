"""The page: what it shows, and that nothing on it is markup of others."""

from dataclasses import replace

import cv2
import numpy as np

from sise_rt.augmenting.page import SHOWN, Told, page

CLASSES = ("a", "<b>", "c")
TOLD = Told("<i>model", "sise:budget=0.1", "it is labelled background", {"area": 0.2, "fill": None})


def lines(folder, count):
    """Lines of pictures that were occluded, which share their files, and one of each other end."""
    for kind in ("o", "r", "s"):
        cv2.imwrite(str(folder / f"{kind}.png"), np.full((30, 500, 3), 200, np.uint16))
    common = {"target": 1, "predicted": 1, "present": [1], "confidence": 0.75, "area": 0.2, "bit_depth": 12}
    done = [
        {"id": f"<u>{i}.png", "status": "done", "files": ["o.png", "r.png", "s.png"], "message": None}
        | common
        for i in range(count)
    ]
    others = [
        {"id": f"{end}.png", "status": end, "files": [], "message": f"why {end}"} | common
        for end in ("skipped", "no evidence", "failed")
    ]
    return done + others


def test_twenty_pictures_in_three_forms_and_why_others_have_none(tmp_path, read):
    shown = read(page(tmp_path, lines(tmp_path, 23), CLASSES, TOLD).decode("utf-8"))
    images = shown.all("img")
    assert len(images) == 3 * SHOWN
    assert {image["src"].split(",")[0] for image in images} == {"data:image/webp;base64"}
    assert images[0]["alt"] == "<u>0.png: original"
    words = " ".join(shown.text.split())
    assert "26 labelled pictures: 23 occluded in both ways; 1 not taken" in words
    assert "Pictures with parts hidden that matter to <i>model" in words
    assert "<b>, confidence 0.750" in words
    for end in ("skipped", "no evidence", "failed"):
        assert f"{end}.png: why {end}" in words
    assert "area 0.2" in words
    assert "fill" not in words.split("Settings")[1]
    assert not shown.all("script")
    assert not {"u", "b", "i"} & {tag for tag, _ in shown.elements}


def test_a_control_is_called_one(tmp_path, read):
    words = read(
        page(tmp_path, lines(tmp_path, 1), CLASSES, replace(TOLD, method="random")).decode("utf-8")
    ).text
    assert "This is the control" in words
    assert "What is salient was found" not in words


def test_of_no_picture_there_is_a_page_all_the_same(tmp_path, read):
    shown = read(page(tmp_path, lines(tmp_path, 0), CLASSES, TOLD).decode("utf-8"))
    assert "0 pictures of 0" in " ".join(shown.text.split())
