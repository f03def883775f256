"""Placement: the evaluation transforms of torchvision, and maps back on their pictures."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from sise_rt.bundle import Preprocess
from sise_rt.errors import BundleError, ImageError
from sise_rt.pictures.placement import Placement, preprocess, seen_rectangle, seen_share, to_original
from sise_rt.pictures.reading import load_image

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def spec(**changes) -> Preprocess:
    values = {
        "input_size": (3, 224, 224),
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "color": "RGB",
        "scale": 255.0,
    }
    return Preprocess(**{**values, **changes})


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


# ---- preprocess


def reference(torchvision, picture, resize, crop, *, bicubic=False, **normal):
    transforms = torchvision.transforms
    mode = transforms.InterpolationMode.BICUBIC if bicubic else transforms.InterpolationMode.BILINEAR
    steps = [
        transforms.Resize(resize, interpolation=mode, antialias=True),
        transforms.CenterCrop(crop),
        transforms.ToTensor(),
    ]
    if normal:
        steps.append(transforms.Normalize(**normal))
    return transforms.Compose(steps)(Image.fromarray(picture)).numpy()[None]


def test_real_photos_as_torchvision_prepares_them(material, torchvision):
    photos = sorted((material / "images" / "photos").glob("*.*"))
    photos += sorted((material / "images" / "imagenet_photos").glob("*.JPEG"))[:6]
    if not photos:
        pytest.skip("no photos in the material")
    for path in photos:
        raw = np.array(Image.open(path).convert("RGB"))
        values, _ = preprocess(load_image(path), spec())
        assert np.abs(values - reference(torchvision, raw, 256, 224)).max() < 1e-6, path.name
        values, _ = preprocess(load_image(path), spec(**IMAGENET))
        expected = reference(torchvision, raw, 256, 224, **IMAGENET)
        assert np.abs(values - expected).max() < 1e-5, path.name


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (257, 256), (224, 224), (32, 32), (7, 90)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (224, 224), (236, 224), (255, 224)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_rounding_is_torchvisions(torchvision, size, resize, crop, interpolation):
    picture = noise(*size, 3)
    values, placement = preprocess(picture, spec(crop_pct=crop / resize, interpolation=interpolation))
    expected = reference(torchvision, picture, resize, crop, bicubic=interpolation == "bicubic")
    assert values.shape == (1, 3, crop, crop)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert min(placement.resized) == resize
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_crop_pct_that_is_a_quotient_leads_back_to_its_size():
    for crop in (32, 64, 224):
        for resize in range(crop, 2 * crop):
            quotient = spec(input_size=(3, crop, crop), crop_pct=crop / resize)
            assert preprocess(noise(3, 3, 3), quotient)[1].resized == (resize, resize)


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (90, 500)])
def test_squash(torchvision, size):
    picture = noise(*size, 3)
    values, placement = preprocess(picture, spec(crop_mode="squash", crop_pct=0.9))
    side = math.floor(224 / 0.9)
    np.testing.assert_allclose(values, reference(torchvision, picture, (side, side), 224), atol=1e-6)
    assert placement == Placement(size, (side, side), 12, 12, (224, 224))


@pytest.mark.parametrize("size", [(300, 400), (401, 300), (90, 501), (224, 224)])
@pytest.mark.parametrize("shape", [(224, 224), (96, 224)])
def test_the_middle_is_cut_out_first(size, shape):
    picture = noise(*size, 3)
    cut = spec(input_size=(3, *shape), crop_mode="cut", crop_pct=1.0, interpolation="lanczos")
    values, placement = preprocess(picture, cut)
    fitted = ImageOps.fit(Image.fromarray(picture), shape[::-1], Image.Resampling.LANCZOS)
    np.testing.assert_allclose(values[0], np.asarray(fitted, np.float32).transpose(2, 0, 1) / 255, atol=1e-6)
    center = preprocess(picture, spec(input_size=(3, *shape), crop_pct=1.0))[1]
    assert placement == center


@pytest.mark.parametrize("size", [(300, 400), (401, 300), (90, 500)])
def test_a_cut_is_placed_to_half_a_pixel(size):
    """A lone column of the picture is seen where the placement says that it lies."""
    whole = spec(input_size=(3, 30, 30), crop_mode="cut", crop_pct=1.0)
    short = min(size)
    for share in (0.3, 0.5, 0.65):
        picture = np.zeros((*size, 3), np.uint8)
        middle = size[1] / 2 + (share - 0.5) * short
        start = round(middle - short / 30)
        picture[:, start : start + round(short / 15)] = 255
        values, placement = preprocess(picture, whole)
        weights = values[0, 0].sum(axis=0)
        seen = (weights * (np.arange(30) + 0.5)).sum() / weights.sum()
        told = (start + round(short / 15) / 2) * placement.resized[1] / size[1] - placement.left
        assert abs(seen - told) <= 0.6


def test_a_picture_of_the_inputs_size_is_not_cut_where_nobody_stated_the_crop():
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    values, placement = preprocess(picture, spec(crop_mode="cut", crop_assumed=True, scale=1.0))
    np.testing.assert_array_equal(values[0], np.moveaxis(picture, 2, 0))
    assert seen_rectangle(placement) == (0, 0, 224, 224)


def test_a_cut_takes_a_share_of_the_middle():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[10:90, 60:140] = 255
    values, _ = preprocess(picture, spec(crop_mode="cut", crop_pct=0.8, interpolation="linear"))
    assert (values == 1).all()


@pytest.mark.parametrize("mode", ["squash", "center", "cut"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_linear_is_opencvs_bilinear(mode, dtype):
    picture = noise(301, 400, 3).astype(dtype) * (257 if dtype == np.uint16 else 1)
    values, placement = preprocess(picture, spec(interpolation="linear", crop_mode=mode, crop_pct=1.0))
    pixels = picture.astype(np.float32) / 257 if dtype == np.uint16 else picture
    if mode == "cut":
        pixels = pixels[:, 49:350]
    size = (224, 224) if mode == "cut" else placement.resized
    resized = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    left = 0 if mode == "cut" else placement.left
    theirs = resized[:, left : left + 224].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(values[0], theirs, atol=1e-6)


def test_linear_takes_one_channel_and_many():
    for channels, planes in ((1, 3), (5, 5)):
        picture = noise(50, 60, planes)
        settings = {"mean": (0.0,) * channels, "std": (1.0,) * channels, "interpolation": "linear"}
        color = "GRAY" if channels == 1 else "RGB"
        many = spec(input_size=(channels, 20, 20), crop_mode="squash", crop_pct=1.0, color=color, **settings)
        grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None] if channels == 1 else picture
        theirs = cv2.resize(np.ascontiguousarray(grey), (20, 20)).reshape(20, 20, channels).transpose(2, 0, 1)
        np.testing.assert_allclose(preprocess(picture, many)[0][0], theirs / 255, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "lanczos"])
def test_filters_are_pillows(interpolation):
    picture = noise(300, 400, 3)
    values, _ = preprocess(picture, spec(crop_mode="squash", crop_pct=1, interpolation=interpolation))
    resized = Image.fromarray(picture).resize((224, 224), Image.Resampling[interpolation.upper()])
    expected = np.moveaxis(np.asarray(resized, np.float32), 2, 0)[None] / 255
    np.testing.assert_allclose(values, expected, atol=1e-6)
    if interpolation == "nearest":
        assert set(np.unique(values)) <= set(np.float32(np.unique(picture)) / np.float32(255))


@pytest.mark.parametrize(
    ("width", "even", "floor"), [(224, 0, 0), (225, 0, 0), (226, 1, 1), (227, 2, 1), (228, 2, 2), (231, 4, 3)]
)
def test_a_crop_between_two_pixels(width, even, floor):
    picture = noise(224, width, 3)
    for crop_floor, left in ((False, even), (True, floor)):
        values, placement = preprocess(picture, spec(crop_pct=1, crop_floor=crop_floor))
        assert (placement.top, placement.left) == (0, left)
        expected = np.moveaxis(picture[:, left : left + 224].astype(np.float32), 2, 0)[None] / 255
        np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "resized", "top", "left"),
    [
        ((400, 400), (256, 256), 64, 16),  # wide enough when 256 wide
        ((200, 800), (146, 584), 9, 180),  # high enough when 146 high
        ((64, 112), (146, 256), 9, 16),
    ],
)
def test_an_input_that_is_not_square_is_covered(size, resized, top, left):
    values, placement = preprocess(noise(*size, 3), spec(input_size=(3, 128, 224)))
    assert values.shape == (1, 3, 128, 224)
    assert placement == Placement(size, resized, top, left, (128, 224))


def test_no_input_shape_reaches_beyond_the_resized_picture():
    random = np.random.default_rng(1)
    for _ in range(200):
        height, width, rows, columns = random.integers(1, 70, 4)
        mode = str(random.choice(["center", "squash"]))
        shape = spec(input_size=(3, rows, columns), crop_pct=random.uniform(0.3, 1), crop_mode=mode)
        _, at = preprocess(noise(height, width, 3), shape)
        assert at.top >= 0
        assert at.left >= 0
        assert at.top + rows <= at.resized[0]
        assert at.left + columns <= at.resized[1]


def test_colours_scale_mean_and_std_by_hand():
    picture = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    small = {"input_size": (3, 4, 4), "scale": 2.0, "mean": (1.0, 2.0, 3.0), "std": (0.5, 1.0, 2.0)}
    rgb, _ = preprocess(picture, spec(**small))
    np.testing.assert_array_equal(rgb[0, :, 0, 0], [8, 8, 6])
    bgr, _ = preprocess(picture, spec(**small, color="BGR"))
    np.testing.assert_array_equal(bgr[0, :, 0, 0], [28, 8, 1])
    grey = spec(input_size=(1, 4, 4), scale=1.0, mean=(0.0,), std=(1.0,), color="GRAY")
    values, _ = preprocess(picture, grey)
    assert values.shape == (1, 1, 4, 4)
    np.testing.assert_array_equal(values, round(0.299 * 10 + 0.587 * 20 + 0.114 * 30))


def test_many_channels_are_each_resized_as_one_picture_would_be():
    planes = noise(30, 50, 5)
    many = spec(input_size=(5, 16, 16), mean=(0.0,) * 5, std=(1.0,) * 5)
    values, placement = preprocess(planes, many)
    for plane in range(5):
        alone, same = preprocess(np.dstack([planes[..., plane]] * 3), spec(input_size=(3, 16, 16)))
        np.testing.assert_array_equal(values[0, plane], alone[0, 0])
        assert placement == same


def deep(*shape: int, bits: int = 16) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 2**bits, shape).astype(np.uint16)


@pytest.mark.parametrize("size", [(300, 400), (257, 256), (64, 70)])
@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize(("bits", "model"), [(16, 8), (12, 8), (12, 12), (12, 16)])
def test_more_bits_are_resized_as_torch_resizes_floats(torchvision, size, bicubic, bits, model):
    torch = pytest.importorskip("torch")
    picture, full = deep(*size, 3, bits=bits), float(2**model - 1)
    shape = spec(
        input_size=(3, 112, 112),
        scale=full,
        bit_depth=model,
        interpolation="bicubic" if bicubic else "bilinear",
    )
    values, placement = preprocess(picture, shape, bits)
    planes = torch.from_numpy(np.moveaxis(picture / (2**bits - 1), 2, 0)[None])
    resized = torch.nn.functional.interpolate(
        planes,
        placement.resized,
        mode="bicubic" if bicubic else "bilinear",
        antialias=True,
        align_corners=False,
    ).clamp(0, 1)
    expected = torchvision.transforms.CenterCrop(112)(resized).numpy()
    # torch's cubic kernel has a = -0.5 where it antialiases, as Pillow's.
    np.testing.assert_allclose(values, expected, atol=2e-6)


def test_more_bits_are_not_rounded_to_eight():
    picture = np.full((32, 32, 3), 4095, np.uint16)
    picture[0, 0] = 2001
    same = spec(input_size=(3, 32, 32), crop_pct=1.0)
    values, _ = preprocess(picture, same, 12)
    np.testing.assert_allclose(values[0, :, 0, 0], 2001 / 4095, rtol=1e-7)
    np.testing.assert_allclose(values[0, :, 5, 5], 1, rtol=1e-7)
    raw = spec(input_size=(3, 32, 32), crop_pct=1.0, bit_depth=12, scale=1.0)
    np.testing.assert_array_equal(preprocess(picture, raw)[0][0], np.moveaxis(picture, 2, 0))
    grey = spec(
        input_size=(1, 32, 32), crop_pct=1.0, bit_depth=16, scale=1.0, mean=(0.0,), std=(1.0,), color="GRAY"
    )
    np.testing.assert_array_equal(
        preprocess(deep(32, 32, 1).repeat(3, axis=2), grey)[0][0, 0], deep(32, 32, 1)[..., 0]
    )


def test_eight_bits_for_a_model_of_more():
    picture = noise(32, 32, 3)
    values, _ = preprocess(picture, spec(input_size=(3, 32, 32), crop_pct=1.0, bit_depth=16, scale=65535.0))
    np.testing.assert_allclose(values[0], np.moveaxis(picture, 2, 0) / 255, atol=1e-7)


def test_sixteen_bits_of_eight_are_the_eight_bits_but_for_their_rounding():
    eight = noise(300, 400, 3)
    exact, _ = preprocess(eight.astype(np.uint16) * 257, spec())
    assert 0 < np.abs(exact - preprocess(eight, spec())[0]).max() <= 1.01 / 255  # each of two passes rounds


def test_a_picture_of_the_inputs_size_is_not_cropped_by_an_assumption():
    picture = noise(224, 224, 3)
    values, placement = preprocess(picture, spec(crop_assumed=True))
    assert placement == Placement((224, 224), (224, 224), 0, 0, (224, 224))
    np.testing.assert_array_equal(values[0], np.moveaxis(picture, 2, 0) / np.float32(255))
    for size, changes in (
        ((224, 224), {}),
        ((224, 225), {"crop_assumed": True}),
        ((448, 448), {"crop_assumed": True}),
    ):
        assert min(preprocess(noise(*size, 3), spec(**changes))[1].resized) == 256


@pytest.mark.parametrize(
    ("size", "changes", "share"),
    [
        ((256, 256), {}, (224 / 256) ** 2),
        ((256, 512), {}, 224**2 / 256 / 512),
        ((9, 30), {"crop_mode": "squash", "crop_pct": 1.0}, 1),
    ],
)
def test_the_share_that_is_seen(size, changes, share):
    _, placement = preprocess(noise(*size, 3), spec(**changes))
    assert seen_share(placement) == pytest.approx(share)
    assert seen_share(placement) == to_original(np.ones((2, 2)), placement)[1].mean()


@pytest.mark.parametrize(
    ("picture", "channels"),
    [
        (noise(8, 8, 4), 3),
        (noise(8, 8, 2), 3),
        (noise(8, 8), 3),
        (noise(3, 8, 8), 3),
        (noise(8, 8, 1), 1),
        (noise(8, 8, 3), 5),
        (noise(8, 8, 3).astype(np.float32), 3),
        (noise(0, 8, 3), 3),
        (noise(1, 8000, 3), 3),  # 256 x 2,048,000
    ],
)
def test_pictures_that_do_not_fit(picture, channels):
    color = "GRAY" if channels == 1 else "RGB"
    fit = spec(input_size=(channels, 224, 224), mean=(0.0,) * channels, std=(1.0,) * channels, color=color)
    with pytest.raises(ImageError):
        preprocess(picture, fit)


@pytest.mark.parametrize(
    ("channels", "color"), [(3, "GRAY"), (1, "RGB"), (1, "BGR"), (4, "GRAY"), (12, "BGR")]
)
def test_a_contradictory_spec_is_the_bundles_fault(channels, color):
    normal = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    with pytest.raises(BundleError, match=f"{color} does not go with {channels}"):
        spec(input_size=(channels, 8, 8), color=color, **normal)


# ---- to_original


def centre(weights: np.ndarray) -> np.ndarray:
    """The centre of mass, in pixel-corner coordinates (x, y)."""
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((600, 800), {}),
        ((801, 603), {}),
        ((300, 300), {"crop_pct": 1.0}),
        ((500, 400), {"crop_mode": "squash"}),
        ((400, 900), {"crop_mode": "squash", "crop_pct": 1.0}),
        ((400, 900), {"input_size": (3, 128, 224)}),
        ((60, 80), {}),
        ((1200, 1800), {"crop_pct": 0.95}),
    ],
)
def test_a_blob_comes_back_to_where_it_was(size, changes):
    # A white disc on black goes through the whole way: picture, model input, map on the picture.
    height, width = size
    for fx, fy in ((0.5, 0.5), (0.42, 0.56), (0.57, 0.38)):
        radius = min(size) / 16
        y, x = np.mgrid[:height, :width] + 0.5
        disc = (x - fx * width) ** 2 + (y - fy * height) ** 2 < radius**2
        picture = np.repeat((disc * np.uint8(255))[..., None], 3, axis=2)
        values, placement = preprocess(picture, spec(**changes))
        back, seen = to_original(values[0, 0], placement)
        assert back.shape == seen.shape == size
        assert back.dtype == np.float32
        assert seen.dtype == bool
        np.testing.assert_allclose(centre(back), centre(disc), atol=0.15 * max(1, min(size) / 224))
        # Area and height stay too: what was inside is bright, what was far outside is dark.
        assert back.sum() == pytest.approx(disc.sum(), rel=0.03)
        far = (x - fx * width) ** 2 + (y - fy * height) ** 2 > (1.5 * radius + 4) ** 2
        assert back[far].max() < 0.02


def test_low_resolution_maps_cover_the_input():
    placement = preprocess(noise(600, 800, 3), spec())[1]
    ramp = (np.arange(7) + 0.5) / 7  # at the centre of cell i of 7
    back, seen = to_original(np.tile(ramp, (7, 1)), placement)
    # Column x of the picture lies at this share of the crop's width.
    share = ((np.arange(800) + 0.5) * placement.resized[1] / 800 - placement.left) / 224
    inside = (share > 0.1) & (share < 0.9)
    np.testing.assert_allclose(back[300, inside], share[inside], atol=2e-3)
    assert seen[300, inside].all()


def test_the_crop_is_seen_and_nothing_else():
    _, placement = preprocess(noise(512, 1024, 3), spec())
    assert placement == Placement((512, 1024), (256, 512), 16, 144, (224, 224))
    back, seen = to_original(np.ones((224, 224), np.float32), placement)
    expected = np.zeros((512, 1024), bool)
    expected[32:480, 288:736] = True
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(back, expected.astype(np.float32))  # nothing bleeds over the border


def test_seen_is_what_changes_the_input():
    # Independent of the arithmetic: a pixel is unseen only if painting it leaves the input unchanged.
    picture = np.zeros((64, 96, 3), np.uint8)
    small = spec(input_size=(3, 16, 16), crop_pct=0.5)
    base, placement = preprocess(picture, small)
    _, seen = to_original(base[0, 0], placement)
    for y in range(0, 64, 3):
        for x in range(0, 96, 5):
            if seen[y, x]:
                painted = picture.copy()
                painted[y, x] = 255
                assert not np.array_equal(preprocess(painted, small)[0], base)
    assert seen.sum() == 32 * 32


def test_an_unresized_crop_comes_back_exactly():
    map_ = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    back, seen = to_original(map_, Placement((10, 12), (10, 12), 2, 3, (5, 6)))
    expected = np.zeros((10, 12), np.float32)
    expected[2:7, 3:9] = map_
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_array_equal(seen, expected > 0)


def test_a_crop_beyond_the_picture_is_cut_back():
    # The picture 4 x 6 lies in the middle of an input 8 x 8, which was padded around it.
    map_ = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    back, seen = to_original(map_, Placement((4, 6), (4, 6), -2, -1, (8, 8)))
    np.testing.assert_array_equal(back, map_[2:6, 1:7])
    assert seen.all()


def test_small_pictures_average_the_map():
    # 32 x 32 became 256 x 256; a map with a single lit cell must leave its trace, of the right weight.
    _, placement = preprocess(noise(32, 32, 3), spec())
    map_ = np.zeros((224, 224), np.float32)
    map_[101, 99] = 1
    back, _ = to_original(map_, placement)
    assert np.unravel_index(back.argmax(), back.shape) == ((16 + 101) // 8, (16 + 99) // 8)
    assert back.sum() == pytest.approx(1 / 64, rel=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (5, 33000)])
def test_extreme_pictures_keep_range_and_shape(size):
    _, placement = preprocess(noise(*size, 3), spec(input_size=(3, 32, 32)))
    map_ = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    back, seen = to_original(map_, placement)
    assert back.shape == seen.shape == size
    assert seen.any()
    assert (back[~seen] == 0).all()
    assert back[seen].min() >= map_.min()
    assert back.max() <= map_.max()


@pytest.mark.parametrize("shape", [(3, 4, 4), (4,), (0, 4)])
def test_maps_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match="map"):
        to_original(np.zeros(shape, np.float32), Placement((4, 4), (4, 4), 0, 0, (4, 4)))


def test_opencv_agrees_with_the_affine_truth():
    # The same un-crop as one affine warp, away from the crop's border.
    _, placement = preprocess(noise(600, 800, 3), spec())
    map_ = cv2.GaussianBlur(np.random.default_rng(0).random((224, 224), dtype=np.float32), (0, 0), 3)
    back, seen = to_original(map_, placement)
    sy, sx = placement.resized[0] / 600, placement.resized[1] / 800
    matrix = np.array(
        [[sx, 0, 0.5 * sx - 0.5 - placement.left], [0, sy, 0.5 * sy - 0.5 - placement.top]], np.float64
    )
    warped = cv2.warpAffine(map_, matrix, (800, 600), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inner = cv2.erode(seen.astype(np.uint8), np.ones((9, 9))) > 0
    assert inner.sum() > 200_000
    assert np.abs(back - warped)[inner].max() < 2e-3


def test_rounding_never_leaves_the_maps_range():
    random = np.random.default_rng(5)
    for _ in range(300):
        height, width, rows, columns, h, w = (int(side) for side in random.integers(1, 90, 6))
        placement = Placement((height, width), (rows, columns), 0, 0, (rows, columns))
        back, _ = to_original(np.ones((h, w), np.float32), placement)
        assert back.max() <= 1
        assert back.min() > 0.999
