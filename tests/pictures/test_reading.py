"""Reading pictures: what is accepted, and what is refused."""

import io
import os
import re
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sise_rt.errors import ImageError
from sise_rt.pictures.raster import in_eight_bits
from sise_rt.pictures.reading import MAX_PIXELS, PICTURES, load_image, read_picture


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *between: tuple[bytes, bytes]) -> bytes:
    """A PNG of rows that each start with their filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *between, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    return png(width, height, 8, 2, b"")


# ---- load_image: what is accepted


@pytest.mark.parametrize("ending", PICTURES)
def test_files_of_every_ending_are_read(tmp_path, ending):
    """Written by Pillow or NumPy, which choose the format by the ending."""
    path, pixels = tmp_path / f"picture{ending}", np.full((8, 8, 3), 200, np.uint8)
    if ending == ".npy":
        np.save(path, pixels)
    elif ending == ".pbm":
        Image.fromarray(pixels).convert("1", dither=Image.Dither.NONE).save(path)
        pixels = np.full_like(pixels, 255)
    else:
        Image.init()
        # Raw codestreams of JPEG 2000 have no format of their own in Pillow.
        form = Image.EXTENSION.get(ending, "JPEG2000")
        Image.fromarray(pixels).convert("L" if ending == ".pgm" else "RGB").save(path, form)
    assert np.abs(load_image(path).astype(int) - pixels).max() <= 2


def test_all_names_of_the_formats_that_are_read_are_taken_for_pictures():
    """By Pillow's own table; of Netpbm's that of floats is not read."""
    from sise_rt.pictures.decoding import FORMATS

    Image.init()
    names = {ending for ending, form in Image.EXTENSION.items() if form in (*FORMATS, "PPM")}
    assert names - {*PICTURES} == {".pfm"}


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


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PGM"])
def test_sixteen_bit_grey_keeps_its_bits(form):
    values = np.array([[0, 257, 400, 32896, 65535]], np.uint16)
    if form == "PGM":  # older Pillows read it and cannot write it
        content = b"P5 5 1 65535\n" + values.astype(">u2").tobytes()
    else:
        content = encoded(Image.fromarray(values), form)
    loaded = load_image(content)
    np.testing.assert_array_equal(loaded, np.repeat(values[..., None], 3, axis=2))
    np.testing.assert_array_equal(in_eight_bits(loaded, 16)[0, :, 0], [0, 1, 2, 128, 255])


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_pngs_keep_their_bits(colour, samples):
    """Each row by another filter of the PNG specification, done here."""
    values = np.random.default_rng(4).integers(0, 65536, (4, 9, samples)).astype(np.uint16)
    lines = values.astype(">u2").view(np.uint8).reshape(4, -1).astype(int)
    left = np.pad(lines, ((0, 0), (2 * samples, 0)))[:, : lines.shape[1]]
    above = np.pad(lines, ((1, 0), (0, 0)))[:4]
    filtered = [lines[0], lines[1] - left[1], lines[2] - above[2], lines[3] - (left[3] + above[3]) // 2]
    rows = b"".join(bytes([i]) + (row % 256).astype(np.uint8).tobytes() for i, row in enumerate(filtered))
    read = read_picture(png(9, 4, 16, colour, rows))
    np.testing.assert_array_equal(
        read.pixels, np.broadcast_to(values[..., : 1 + colour // 2 % 2 * 2], (4, 9, 3))
    )
    assert (read.pixels.dtype, read.declared) == (np.uint16, None)
    assert bool(read.notes) == (colour >= 4)  # its alpha


def test_an_opened_image_keeps_its_bits_too(tmp_path):
    values = np.random.default_rng(4).integers(0, 65536, (4, 9, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png(9, 4, 16, 2, rows))
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(load_image(opened), values)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
def test_first_frame_of_an_animation(form):
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow has no {form}")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    read = read_picture(encoded(frames[0], form, save_all=True, append_images=frames[1:]))
    assert np.abs(read.pixels[0, 0].astype(int) - (255, 0, 0)).max() <= 8
    assert read.notes == ("it is an animation: its first frame is read",)
    assert read_picture(encoded(frames[0], form)).notes == ()


def test_transparency_that_is_left_out_is_told_and_none_that_hides_nothing():
    told = ("its transparency is left out: what it hides is seen",)
    rgba = noise(4, 5, 4)
    for source in (rgba, saved(rgba), encoded(Image.fromarray(rgba)), Image.fromarray(rgba)):
        assert read_picture(source).notes == told
    rgba[..., 3] = 255
    for source in (rgba, saved(rgba), encoded(Image.fromarray(rgba)), Image.fromarray(rgba)):
        assert read_picture(source).notes == ()
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert read_picture(encoded(palette, transparency=1)).notes == told
    assert read_picture(encoded(palette, transparency=b"\xff\xff\xff")).notes == ()
    assert read_picture(rgba, channels=4).notes == ()


def test_arrays_of_sixteen_bits_come_as_they_are():
    values = np.array([[0, 4095, 65535]], np.uint16)
    for array in (values, values.astype(">u2"), values[..., None]):
        for source in (array, saved(array)):
            read = read_picture(source)
            np.testing.assert_array_equal(read.pixels, np.repeat(values[..., None], 3, axis=2))
            assert (read.pixels.dtype, read.declared) == (np.dtype("=u2"), None)


# ---- what would take too much, refused before it does


def truncated_to(path: Path, head: bytes, size: int) -> Path:
    """A sparse file."""
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def test_hostile_arrays(tmp_path):
    with pytest.raises(ImageError, match=r"shape \(True, True, 3\) is no picture"):
        load_image(promised((True, True, 3)) + b"abc")
    head = promised((10_000, 9_000, 200))
    sparse = truncated_to(tmp_path / "a.npy", head, len(head) + 18 * 10**9)
    with pytest.raises(ImageError, match="more values than 100,000,000 pixels"):
        load_image(sparse)


@pytest.mark.parametrize(
    "head", [b"RIFF\0\0\0\0WEBPVP8 ", b"\xff\xd8\xff\xe0", b"\0\0\0\x1cftypavif"], ids=["webp", "jpg", "avif"]
)
def test_sparse_files_are_not_read_whole(tmp_path, head):
    with pytest.raises(ImageError, match="file of 18,000,000,000 bytes is too large"):
        load_image(truncated_to(tmp_path / "a", head, 18 * 10**9))


def test_jpegs_of_hundreds_of_scans():
    data = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG", progressive=True)
    assert load_image(data).shape == (64, 64, 3)
    last = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="a JPEG of 310 scans takes too long"):
        load_image(data[:-2] + 300 * last + data[-2:])
    with pytest.raises(ImageError, match="a JPEG of 40 scans takes too long"):
        load_image(data[:-2] + 30 * last + data[-2:], max_pixels=64 * 64)
    # What follows the picture, as the film of a phone, and thumbnails before it, are no scans.
    np.testing.assert_array_equal(load_image(data + 300 * last), load_image(data))
    thumbnail = b"\xff\xed\xff\xff" + (b"\xff\xda\0\x0c" * 20_000)[:65533]
    np.testing.assert_array_equal(load_image(data[:2] + thumbnail + data[2:]), load_image(data))


def test_pngs_with_huge_chunks_are_an_image_error():
    rows = bytes(13 * 4)
    for kind in (b"zTXt", b"iCCP"):
        bomb = kind, b"k\0\0" + zlib.compress(bytes(50_000_000))
        with pytest.raises(ImageError, match="PNG cannot be decoded"):
            load_image(png(4, 4, 8, 2, rows, bomb))
    many = [(b"tEXt", b"k\0" + b"x" * 900_000)] * 100
    with pytest.raises(ImageError, match="PNG cannot be decoded"):
        load_image(png(4, 4, 8, 2, rows, *many))


@pytest.mark.parametrize("form", ["WEBP", "TIFF", "GIF", "PNG", "JPEG", "JPEG2000", "AVIF"])
def test_a_picture_beyond_pillows_limit_and_within_ours(monkeypatch, form):
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow has no {form}")
    data = encoded(Image.new("RGB", (300, 200), (9, 9, 9)), form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert load_image(data, max_pixels=60_000).shape == (200, 300, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(ImageError, match="300 x 200 is more than 59,999 pixels"):
        load_image(data, max_pixels=59_999)


def test_whatever_a_decoder_raises_is_an_image_error(monkeypatch):
    data = encoded(Image.fromarray(noise(4, 4, 3)))
    for error in (RuntimeError("odd"), RecursionError("deep"), KeyError("x"), MemoryError()):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr("sise_rt.pictures.reading.decode", fail)
        words = "more memory than there is" if isinstance(error, MemoryError) else "cannot be read"
        with pytest.raises(ImageError, match=words):
            load_image(data)


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


REFUSAL = """
import json, sys, tracemalloc
from pathlib import Path
from sise_rt.errors import ImageError
from sise_rt.pictures.reading import load_image

data = Path(sys.argv[1]).read_bytes()
for _ in range(2):  # the first time also pays for what is imported late
    tracemalloc.start()
    try:
        load_image(data)
    except ImageError as error:
        told = [str(error), tracemalloc.get_traced_memory()[1]]
    tracemalloc.stop()
print(json.dumps(told))
"""


def test_too_many_pixels_are_refused_from_the_header(tmp_path, alone):
    (tmp_path / "large.png").write_bytes(png_header(30000, 30000))
    said, most = alone(REFUSAL, tmp_path / "large.png")
    assert re.search(r"30000 x 30000.*100,000,000 pixels", said)
    assert most < 1_000_000


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
        (np.zeros((4, 4), np.uint32), "uint8, 0 to 255, RGB, or uint16"),
        (np.zeros((4, 4), np.int16), "uint8, 0 to 255, RGB, or uint16"),
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
