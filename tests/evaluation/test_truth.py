"""Ground truth on the model's input: drawn on the picture, and taken where the model's input lies."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from sise_rt.bundle import Preprocess
from sise_rt.errors import ArgumentError
from sise_rt.evaluation.samples import Truth
from sise_rt.evaluation.truth import draw, to_input
from sise_rt.pictures.placement import Placement, preprocess, to_original

BIG = 10**8


def spec(size=(3, 32, 32), crop_pct=1.0, crop_mode="center"):
    return Preprocess(
        input_size=size,
        interpolation="bilinear",
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        color="RGB",
        scale=255.0,
    )


SPECS = {
    "center": spec(crop_pct=0.875),
    "squash": spec(crop_mode="squash"),
    "wide": spec((3, 24, 40), crop_pct=0.8),
    "large": spec((3, 160, 160)),
}


@pytest.mark.parametrize("size", [(60, 90), (91, 57), (33, 33), (20, 300)])
@pytest.mark.parametrize("name", SPECS)
def test_the_picture_and_its_truth_go_the_same_way(name, size):
    height, width = size
    truth = np.zeros(size, bool)
    truth[height // 4 : height // 2, width // 3 : (3 * width) // 4] = True
    picture = np.repeat(truth[..., None] * np.uint8(255), 3, axis=2)
    tensor, placement = preprocess(picture, SPECS[name])
    inside = to_input(truth, placement)
    assert inside.shape == tensor.shape[2:]
    # Where the resized picture is plainly black or white, the truth says the same; grey is the border.
    seen = tensor[0, 0]
    plain = (seen < 0.02) | (seen > 0.98)
    assert plain.mean() > 0.5
    np.testing.assert_array_equal(inside[plain], seen[plain] > 0.5)
    assert abs(inside.mean() - seen.mean()) < 0.05


@pytest.mark.parametrize("name", SPECS)
def test_it_is_the_inverse_of_to_original(name):
    _, placement = preprocess(np.zeros((75, 110, 3), np.uint8), SPECS[name])
    _, seen = to_original(np.ones(placement.input, np.float32), placement)
    there = to_input(seen, placement)
    assert there.all()  # all of the input lies in what the model saw of the picture
    height, width = placement.input
    spot = np.zeros(placement.input, np.float32)
    spot[height // 5 : height // 2, width // 3 : (2 * width) // 3] = 1
    back, _ = to_original(spot, placement)
    again = to_input(back > 0.5, placement)
    assert (again & (spot > 0)).sum() / (again | (spot > 0)).sum() > 0.8


def test_exactly_every_second_pixel():
    _, placement = preprocess(np.zeros((64, 64, 3), np.uint8), spec(crop_mode="squash"))
    mask = np.random.default_rng(0).random((64, 64)) > 0.5
    np.testing.assert_array_equal(to_input(mask, placement), mask[1::2, 1::2])


def test_the_input_may_reach_beyond_the_picture():
    placement = Placement(original=(10, 40), resized=(20, 80), top=-6, left=8, input=(32, 32))
    inside = to_input(np.ones((10, 40), bool), placement)
    np.testing.assert_array_equal(np.flatnonzero(inside.all(axis=1)), np.arange(6, 26))
    assert inside.sum() == 20 * 32


def test_a_mask_of_another_size_is_refused():
    _, placement = preprocess(np.zeros((10, 40, 3), np.uint8), spec())
    with pytest.raises(ArgumentError, match="does not fit"):
        to_input(np.ones((40, 10), bool), placement)


def drawn(truth, size=(30, 40), folder=None, max_pixels=BIG):
    mask, problems = draw(truth, size, folder, "a.jpg: dog", max_pixels)
    return mask, [problem.kind for problem in problems]


def test_boxes_are_a_union_of_whole_pixels():
    mask, problems = drawn(Truth(boxes=((0, 0, 1, 1), (37.5, 28.4, 40, 30), (2, 3, 6, 5))))
    expected = np.zeros((30, 40), bool)
    expected[0, 0] = expected[28:30, 37:40] = expected[3:5, 2:6] = True  # 28.5 and 37.5 are centres
    np.testing.assert_array_equal(mask, expected)
    assert problems == []


def test_boxes_outside_are_clipped_or_left_out():
    mask, problems = drawn(Truth(boxes=((-5, -5, 3, 3), (38, 28, 99, 99), (50, 0, 60, 9), (4, 4, 4, 9))))
    assert mask.sum() == 9 + 4
    assert problems == ["box clipped", "box clipped", "box outside the picture", "broken annotation"]
    assert drawn(Truth(boxes=((50, 0, 60, 9),))) == (None, ["box outside the picture"])
    assert drawn(Truth(boxes=((3.6, 3.6, 4.4, 4.4),))) == (None, ["empty truth"])


def test_a_box_that_cannot_be_drawn_is_one_problem():
    inverted, tiny, outside = (20, 4, 9, 9), (3.6, 3.6, 4.4, 4.4), (50, 0, 60, 9)
    assert drawn(Truth(boxes=(inverted,))) == (None, ["broken annotation"])
    assert drawn(Truth(boxes=(inverted, outside))) == (None, ["broken annotation", "box outside the picture"])
    assert drawn(Truth(boxes=(inverted, tiny))) == (None, ["broken annotation", "empty truth"])
    assert drawn(Truth(boxes=((-5, 0, 0.3, 9),))) == (None, ["empty truth"])  # not that it is clipped too
    assert drawn(Truth(boxes=(inverted,), polygons=((1, 1, 1, 1, 1, 1),)))[1][-1] == "empty truth"
    assert drawn(Truth(runs=(((1200,), (30, 40)),))) == (None, ["empty truth"])


def test_stretched_boxes():
    mask, _ = drawn(Truth(boxes=((10, 5.5, 20, 10),), size=(20, 20), scaled=True))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (8, 15, 20, 40)  # 8.25 to 15


def test_sizes_that_differ_are_no_guess():
    assert drawn(Truth(boxes=((1, 1, 5, 5),), size=(40, 30))) == (None, ["sizes differ"])


def test_polygons_and_runs():
    mask, _ = drawn(Truth(polygons=((2, 3, 12, 3, 12, 9, 2, 9),)))
    expected = np.zeros((30, 40), bool)
    expected[3:9, 2:12] = True
    np.testing.assert_array_equal(mask, expected)
    triangle, _ = drawn(Truth(polygons=((0, 0, 30, 0, 0, 30),)))
    assert abs(triangle.sum() - 450) <= 15  # half of the diagonal's pixels
    far, _ = drawn(Truth(polygons=((0, 0, 1e9, 0, 1e9, 1e9),)))
    np.testing.assert_array_equal(far, ~np.tri(30, 40, -1, bool))
    runs, _ = drawn(Truth(runs=(((31, 5, 1164), (30, 40)),)))
    np.testing.assert_array_equal(np.argwhere(runs), [[row, 1] for row in range(1, 6)])
    assert drawn(Truth(runs=(((31, 5, 1164), (40, 30)),))) == (None, ["broken annotation"])
    problem = draw(Truth(runs=(((31, 5, 1164), (40, 30)),)), (30, 40), None, "a.jpg: dog", BIG)[1][0]
    assert problem.detail == "a run-length mask of 30 x 40 in a picture of 40 x 30"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_polygons_differ_from_cocos_own_only_along_their_outline():
    coco_masks = pytest.importorskip("pycocotools.mask", reason="pip install '.[test]'")
    rng = np.random.default_rng(3)
    for _ in range(50):
        height, width = size = tuple(map(int, rng.integers(30, 150, 2)))
        angles = np.sort(rng.random(rng.integers(5, 30)) * 2 * np.pi)
        middle = np.array([width, height]) / 2
        corners = middle + 0.9 * middle * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        polygon = tuple(corners.ravel())
        mask, _ = drawn(Truth(polygons=(polygon,)), size)
        (runs,) = coco_masks.frPyObjects([list(polygon)], height, width)
        theirs = coco_masks.decode(runs).astype(bool)
        inner, outer = binary_erosion(theirs, border_value=1), binary_dilation(theirs)
        assert (inner <= mask).all()
        assert (mask <= outer).all()
        assert (mask != theirs).sum() <= 0.1 * (outer & ~inner).sum()


OBJECT = np.zeros((30, 40), bool)
OBJECT[5:19, 6:28] = True
LABELS = OBJECT * np.arange(1, 41, dtype=np.uint8)  # another one in every column


def read(tmp_path, name="m.png"):
    return drawn(Truth(masks=(name,)), folder=tmp_path)


@pytest.mark.parametrize(
    "values", [OBJECT * np.uint8(1), OBJECT * np.uint8(255), LABELS], ids=["1", "255", "labels"]
)
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pgm", "gif"])
def test_whatever_is_not_zero_is_the_object(tmp_path, values, suffix):
    Image.fromarray(values).save(tmp_path / f"m.{suffix}")
    mask, problems = read(tmp_path, f"m.{suffix}")
    np.testing.assert_array_equal(mask, OBJECT)
    assert problems == []


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(np.uint16, "png"), (np.uint16, "tif"), (np.uint16, "pgm"), (np.int32, "tif"), (np.float32, "tif")],
)
def test_labels_of_more_than_8_bits_are_not_scaled(tmp_path, kind, suffix):
    Image.fromarray(LABELS.astype(kind)).save(tmp_path / f"m.{suffix}")
    np.testing.assert_array_equal(read(tmp_path, f"m.{suffix}")[0], OBJECT)


def test_binary_masks(tmp_path):
    Image.fromarray(OBJECT).save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "1"
    np.testing.assert_array_equal(read(tmp_path)[0], OBJECT)


@pytest.mark.parametrize(
    ("palette", "first"),
    [
        ([0, 0, 0, 128, 0, 0, 0, 128, 0], 0),  # as VOC has it: black, then colours
        ([255, 255, 255, 0, 0, 0], 1),  # white is the first colour, and the object
        ([0, 0, 0, 0, 0, 0, 0, 0, 0], 0),  # labels without colours
    ],
)
def test_masks_with_a_palette(tmp_path, palette, first):
    image = Image.fromarray(np.where(OBJECT, 1 - first, first).astype(np.uint8), "P")
    image.putpalette(palette)
    image.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as saved:
        assert saved.mode == "P"
    np.testing.assert_array_equal(read(tmp_path)[0], OBJECT)


@pytest.mark.parametrize("values", [OBJECT, LABELS.astype(np.int64), OBJECT[..., None] * np.ones(2)])
def test_masks_as_arrays(tmp_path, values):
    np.save(tmp_path / "m.npy", values)
    np.testing.assert_array_equal(read(tmp_path, "m.npy")[0], OBJECT)


def test_of_masks_with_losses_the_noise_is_no_object(tmp_path):
    mask = np.zeros((32, 40), np.uint8)
    mask[5:19, 6:28] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=60)
    with Image.open(tmp_path / "m.jpg") as image:
        assert ((np.asarray(image) > 0) != (mask > 0)).any()
    found, _ = drawn(Truth(masks=("m.jpg",)), size=(32, 40), folder=tmp_path)
    np.testing.assert_array_equal(found, mask > 0)


def test_several_masks_of_a_picture_are_one(tmp_path):
    for name, columns in (("a", slice(0, 10)), ("b", slice(20, 30))):
        values = np.zeros((30, 40), np.uint8)
        values[:, columns] = 1
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    mask, problems = drawn(Truth(masks=("a.png", "b.png")), folder=tmp_path)
    assert np.flatnonzero(mask.all(axis=0)).tolist() == [*range(10), *range(20, 30)]
    assert mask.sum() == 20 * 30
    assert problems == []
    assert drawn(Truth(masks=("a.png", "gone.png")), folder=tmp_path) == (None, ["broken annotation"])


def test_masks_that_cannot_be_used(tmp_path):
    Image.new("L", (40, 30)).save(tmp_path / "empty.png")
    Image.new("L", (30, 40), 255).save(tmp_path / "turned.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, kind in (("empty", "empty mask"), ("turned", "sizes differ"), ("broken", "broken annotation")):
        assert drawn(Truth(masks=(f"{name}.png",)), folder=tmp_path) == (None, [kind])
    np.save(tmp_path / "array.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.ones(1200))
    np.save(tmp_path / "large.npy", np.ones((30, 40)))
    for name in ("array.npy", "flat.npy", "gone.npy"):
        assert drawn(Truth(masks=(name,)), folder=tmp_path) == (None, ["broken annotation"])
    assert drawn(Truth(masks=("large.npy",)), folder=tmp_path, max_pixels=100) == (
        None,
        ["broken annotation"],
    )
    assert drawn(Truth(masks=("turned.png",)), folder=tmp_path, max_pixels=100) == (
        None,
        ["broken annotation"],
    )
