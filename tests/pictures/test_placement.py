import io
import math
import struct
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sise_rt.bundle import Preprocess
from sise_rt.errors import BundleError, ImageError
from sise_rt.pictures.placement import Placement, preprocess, to_original
from sise_rt.pictures.reading import MAX_PIXELS, load_image

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


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# ---- load_image: what is accepted


def test_the_same_picture_from_every_kind_of_source(tmp_path):
    pixels = noise(5, 7, 3)
    data = encoded(Image.fromarray(pixels))
    path = tmp_path / "größe 猫.png"
    path.write_bytes(data)

    class Wrapped:
        __array_interface__ = pixels.__array_interface__

    encodings = data, bytearray(data), memoryview(data)
    for source in (path, str(path), *encodings, Image.fromarray(pixels), pixels, Wrapped()):
        loaded = load_image(source)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, pixels)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_lossless_formats(form):
    pixels = noise(6, 9, 3)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(pixels), form)), pixels)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_lossy_formats_keep_a_flat_colour(form):
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow has no {form}")
    loaded = load_image(encoded(Image.new("RGB", (16, 8), (200, 40, 90)), form))
    assert loaded.shape == (8, 16, 3)
    assert np.abs(loaded.astype(int) - (200, 40, 90)).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_shows_the_scene_upright(orientation, form):
    # The scene: red on the upper left, green on the upper right, blue on the lower left, white.
    scene = np.zeros((32, 48, 3), np.uint8)
    scene[:16, :24], scene[:16, 24:], scene[16:, :24], scene[16:, 24:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 255),
    )
    # EXIF 2.32, table 8: where the stored rows and columns start in the scene.
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: scene.transpose(1, 0, 2)[::-1],
        7: scene.transpose(1, 0, 2)[::-1, ::-1],
        8: scene.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if form in ("JPEG", "WEBP") else {}
    loaded = load_image(encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **options))
    assert loaded.shape == scene.shape
    for y, x in ((5, 5), (5, 42), (27, 5), (27, 42)):
        assert np.abs(loaded[y, x].astype(int) - scene[y, x]).max() < 12


def test_broken_exif_does_not_lose_the_picture():
    pixels = noise(8, 8, 3)
    data = encoded(Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 9)
    np.testing.assert_array_equal(load_image(data), pixels)


def test_grey_alpha_palette_and_bits_become_rgb():
    grey = noise(4, 5)
    as_rgb = np.dstack([grey] * 3)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(grey))), as_rgb)
    np.testing.assert_array_equal(load_image(grey), as_rgb)
    np.testing.assert_array_equal(load_image(grey[..., None]), as_rgb)
    # Alpha is dropped, whatever it says, as in convert("RGB").
    with_alpha = np.dstack([grey, noise(4, 5)])
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(with_alpha))), as_rgb)
    rgba = noise(4, 5, 4)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(rgba))), rgba[..., :3])
    np.testing.assert_array_equal(load_image(rgba), rgba[..., :3])
    bits = grey > 127
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(bits)))[..., 1], bits * np.uint8(255))


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palettes_with_and_without_transparency(transparency):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    options = {} if transparency is None else {"transparency": transparency}
    loaded = load_image(encoded(image, **options))
    np.testing.assert_array_equal(loaded, [[(10, 20, 30), (40, 50, 60), (70, 80, 90)]])


def test_cmyk_jpeg():
    loaded = load_image(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG"))
    assert np.abs(loaded.astype(int) - (0, 255, 255)).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(form):
    values = np.array([[0, 257, 400, 32896, 65535]], np.uint16)
    loaded = load_image(encoded(Image.fromarray(values), form))
    np.testing.assert_array_equal(loaded[0, :, 0], [0, 1, 2, 128, 255])
    assert loaded.shape == (1, 5, 3)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    loaded = load_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(loaded[0, 0], (255, 0, 0))


def test_arrays_of_many_channels_come_back_as_they_are():
    for channels in (2, 5, 7):
        array = noise(4, 6, channels)
        np.testing.assert_array_equal(load_image(array), array)
    four = noise(4, 6, 4)
    np.testing.assert_array_equal(load_image(four, channels=4), four)


def saved(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def promised(shape: tuple[int, ...]) -> bytes:
    """The header of an array in NumPy's format."""
    entries = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer := io.BytesIO(), entries)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (5, 7, 12)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_files_are_taken_as_the_arrays_in_them(tmp_path, shape, order):
    array = np.asarray(noise(*shape), order=order)
    (tmp_path / "a.npy").write_bytes(saved(array))
    expected = load_image(array, channels=4)
    np.testing.assert_array_equal(load_image(tmp_path / "a.npy", channels=4), expected)
    np.testing.assert_array_equal(load_image(saved(array), channels=4), expected)
    np.lib.format.write_array(buffer := io.BytesIO(), array, version=(2, 0))
    np.testing.assert_array_equal(load_image(buffer.getvalue(), channels=4), expected)


def test_numpy_files_that_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(saved(np.zeros((4, 4, 3))))
    with pytest.raises(ImageError, match=r"a\.npy: an array of float64 .* give uint8, 0 to 255"):
        load_image(tmp_path / "a.npy")
    picture = saved(noise(40, 50, 3))
    cases = {
        "float32": saved(np.full((4, 4), np.nan, np.float32)),
        "an array of object": saved(np.array([[{}]]), allow_pickle=True),
        r"shape \(4,\)": saved(noise(4)),
        r"shape \(0, 4\)": saved(noise(0, 4)),
        r"shape \(-4, -4\)": promised((-4, -4)) + bytes(16),
        "has 6,000 bytes, and the file 5,999": picture[:-1],
        "has 6,000 bytes, and the file 6,001": picture + b"0",
        "cannot be read: EOF": picture[:60],
        "format version is 9": picture[:6] + b"\x09" + picture[7:],
        "cannot be read: .*shape is not valid": picture.replace(b"(40, 50, 3)", b"(40, 50.03)"),
        "has 8,910,000,000 bytes, and the file 100": promised((10_000, 9_000, 99)) + bytes(100),
    }
    for words, content in cases.items():
        with pytest.raises(ImageError, match=words):
            load_image(content)
    with pytest.raises(ImageError, match="50 x 40 is more than 1,999 pixels"):
        load_image(picture, max_pixels=1999)


def test_a_numpy_file_runs_no_code(tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    hostile = saved(np.array([[Harm()]], object), allow_pickle=True)
    with pytest.raises(ImageError, match="an array of object"):
        load_image(hostile)
    assert not (tmp_path / "harm").exists()


def test_a_view_backwards_is_read_in_its_own_order():
    bgr = noise(4, 6, 3)
    np.testing.assert_array_equal(load_image(bgr[..., ::-1]), bgr[..., [2, 1, 0]])


# ---- load_image: what is refused


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is no picture, whatever its name says")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    whole = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.jpg").write_bytes(whole[:20])
    for name, what in [
        ("missing.png", "no such file"),
        (".", "folder"),
        ("empty.png", "empty"),
        ("text.png", "no picture"),
        ("page.eps", "no picture"),  # PostScript would start a program
        ("half.jpg", "cannot be decoded"),
        ("head.jpg", "cannot be decoded"),
    ]:
        with pytest.raises(ImageError, match=what) as caught:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_paths_that_cannot_be_opened(tmp_path):
    with pytest.raises(ImageError, match="regular"):
        load_image("/dev/null")
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("a\0b.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_a_picture_cut_anywhere_is_an_image_error(form):
    data = encoded(Image.fromarray(noise(40, 40, 3)), form)
    for length in np.linspace(0, len(data) * 0.7, 12).astype(int):
        with pytest.raises(ImageError):
            load_image(data[:length])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_picture_with_flipped_bytes_is_read_or_refused(form):
    random = np.random.default_rng(3)
    data = np.frombuffer(encoded(Image.fromarray(noise(16, 16, 3)), form), np.uint8)
    for _ in range(60):
        broken = data.copy()
        broken[random.integers(0, min(len(data), 200), 4)] = random.integers(0, 256, 4)
        try:
            loaded = load_image(broken.tobytes(), max_pixels=10_000)
        except ImageError:
            continue
        assert loaded.dtype == np.uint8
        assert loaded.shape[2] == 3


def test_too_many_pixels_are_refused_from_the_header():
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"30000 x 30000.*100,000,000 pixels"):
            load_image(png_header(30000, 30000))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_is_ours_and_not_pillows(monkeypatch):
    picture = Image.fromarray(noise(20, 20, 3))
    data = encoded(picture)
    with pytest.raises(ImageError, match="more than 399 pixels"):
        load_image(data, max_pixels=399)
    with pytest.raises(ImageError, match="more than 399 pixels"):
        load_image(picture, max_pixels=399)
    # Whatever the host program set, neither its limit applies nor its warning appears.
    for limit in (10, 300):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert load_image(data, max_pixels=400).shape == (20, 20, 3)
        assert Image.MAX_IMAGE_PIXELS == limit
    assert MAX_PIXELS == 100_000_000


def test_reading_in_threads_leaves_the_warning_filters_alone():
    data, results = encoded(Image.fromarray(noise(50, 50, 3))), []
    before = list(warnings.filters)

    def read():
        results.extend(load_image(data).sum() for _ in range(20))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert len(set(results)) == 1
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8, 0 to 255"),
        (np.full((4, 4, 3), np.nan), "uint8, 0 to 255"),
        (np.zeros((4, 4), np.uint16), "uint8, 0 to 255"),
        (np.zeros((4, 4), bool), "uint8, 0 to 255"),
        (np.array("cat"), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 0), np.uint8), r"\(4, 4, 0\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (Image.new("RGB", (0, 3)), "no pixels"),
        (Image.new("F", (3, 3)), "range"),
        (Image.new("I", (3, 3)), "range"),
        (Image.new("La", (3, 3)), "cannot be decoded"),
        (None, "NoneType"),
        ([[1, 2]], "list"),
    ],
)
def test_sources_that_are_refused(array, what):
    with pytest.raises(ImageError, match=what):
        load_image(array)


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
