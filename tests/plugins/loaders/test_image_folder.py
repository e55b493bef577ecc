"""The imagefolder loader: folders of pictures, and what is none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from robreport import DataError
from robreport_plugins.loaders.image_folder import ImageFolderLoader

LOADER = ImageFolderLoader()
Check = Callable[..., str]
RNG = np.random.default_rng(0)


def _save(path: Path, pixels: Any = None, **options: Any) -> Any:
    if pixels is None:
        pixels = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def test_a_folder_for_each_class(tmp_path: Path, load_data: Any) -> None:
    folder = tmp_path / "test"
    later = [_save(folder / "dog" / name) for name in ("b.png", "a.png", "\u00e9t\u00e9.PNG")]
    first = _save(folder / "cat" / "10.png")
    (folder / ".cache").mkdir()
    (folder / "cat" / ".hidden.png").write_bytes(b"no image")
    (folder / "dog" / "notes.txt").write_text("no image either")
    data = load_data(LOADER)
    expected = [first, later[1], later[0], later[2]]
    assert data.classes == ("cat", "dog")
    assert data.y.tolist() == [0, 1, 1, 1]
    assert data.x.dtype == np.float32
    for found, pixels in zip(data.x, expected, strict=True):
        np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1) / np.float32(255))
    assert data.layout == "image"
    assert data.source == "folder test, 4 images of 4 x 5 RGB"
    turned = load_data(LOADER, classes=("dog", "bird", "cat"))
    assert turned.y.tolist() == [2, 0, 0, 0]
    values = tmp_path / "train"
    for name in ("0.5", "-2"):
        _save(values / name / "a.png")
    assert load_data(LOADER, "train", task="regression").y.tolist() == [-2, 0.5]


def test_sizes_and_modes(tmp_path: Path, load_data: Any, refused: Check) -> None:
    grey = RNG.integers(0, 256, (8, 6), dtype=np.uint8)
    colour = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)
    _save(tmp_path / "test" / "a" / "1.png", grey)
    assert load_data(LOADER).x.shape == (1, 1, 8, 6)
    _save(tmp_path / "test" / "b" / "2.png", colour)
    refused(lambda: load_data(LOADER), "'a/1.png' is 8 x 6 grey", "8 x 6 RGB", "'grey' or 'rgb'")
    rgb = load_data(LOADER, mode="rgb").x
    np.testing.assert_array_equal(rgb[0], np.stack([grey] * 3) / np.float32(255))
    # ITU-R 601, as Pillow documents it: L = R * 299/1000 + G * 587/1000 + B * 114/1000
    luma = colour @ np.array([299, 587, 114]) / 1000
    np.testing.assert_allclose(load_data(LOADER, mode="grey").x[1, 0], luma / 255, atol=1 / 255)
    _save(tmp_path / "test" / "b" / "3.png", colour[:4])
    refused(lambda: load_data(LOADER, mode="grey"), "'b/3.png' 4 x 6 grey", "size = [height")
    sized = load_data(LOADER, mode="grey", size=(2, 3), filter="box").x
    assert sized.shape == (3, 1, 2, 3)
    blocks = grey.reshape(2, 4, 3, 2).mean(axis=(1, 3)) / 255  # a box filter is a mean
    np.testing.assert_allclose(sized[0, 0], blocks, atol=1 / 255)


def test_splits_are_sub_folders(tmp_path: Path, load_data: Any, refused: Check) -> None:
    for name in ("train", "val"):
        _save(tmp_path / name / "a" / "1.jpg")
    assert load_data(LOADER, "train").x.shape == (1, 3, 4, 5)
    assert load_data(LOADER, "test", path="val").classes == ("a",)
    refused(lambda: load_data(LOADER, "test"), "no such folder", "path = 'FOLDER'")
    _save(tmp_path / "noise" / "1.png")
    assert load_data(LOADER, "ood.noise").y is None
    refused(lambda: load_data(LOADER, "test", path="noise"), "no folders of classes")


def test_folders_that_are_none(tmp_path: Path, load_data: Any, refused: Check) -> None:
    folder = tmp_path / "test"
    folder.write_text("")
    refused(lambda: load_data(LOADER), "is a file")
    folder.unlink()
    folder.mkdir()
    refused(lambda: load_data(LOADER), "holds no images and no folders")
    (folder / "a").mkdir()
    refused(lambda: load_data(LOADER), "the folder 'a' holds no images")
    _save(folder / "a" / "b" / "1.png")
    refused(lambda: load_data(LOADER), "holds the folder 'b'")
    _save(folder / "1.png")
    refused(lambda: load_data(LOADER), "both images ('1.png') and folders ('a')")
    refused(lambda: load_data(LOADER, path="a\0b"), "cannot be read")
    _save(tmp_path / "sound" / "a" / "1.png")
    refused(lambda: load_data(LOADER, path="sound", classes=("b",)), "classes declares 'b'")
    refused(lambda: load_data(LOADER, path="sound", task="regression"), "is no number")


def test_links_stay_inside(tmp_path: Path, load_data: Any, refused: Check) -> None:
    outside = tmp_path / "elsewhere"
    pixels = _save(outside / "1.png")
    folder = tmp_path / "test"
    _save(folder / "a" / "1.png", pixels)
    (folder / "a" / "2.png").symlink_to(folder / "a" / "1.png")
    assert len(load_data(LOADER).x) == 2
    (folder / "a" / "3.png").symlink_to(outside / "1.png")
    refused(lambda: load_data(LOADER), "'3.png' is a link that leads out")
    (folder / "a" / "3.png").unlink()
    (folder / "b").symlink_to(outside)
    refused(lambda: load_data(LOADER), "'b' is a link that leads out")
    (folder / "b").unlink()
    (folder / "a" / "loop.png").symlink_to(folder / "a" / "loop.png")
    found = load_data(LOADER)
    assert len(found.x) == 2  # stands for nothing
    (folder / "a" / "4.webp").write_bytes(b"RIFF")
    (folder / "a" / "notes.txt").write_text("no picture")
    assert load_data(LOADER).source.endswith(
        "RGB (2 of other formats or links to nothing left out)"
    )
    assert found.source.endswith("RGB (1 of other formats or links to nothing left out)")


def test_a_file_that_is_only_called_an_image(
    tmp_path: Path, load_data: Any, refused: Check
) -> None:
    """The sentence names the image below its folder, and no place of this machine."""
    _save(tmp_path / "test" / "a" / "1.png")
    (tmp_path / "test" / "a" / "2.png").write_text("hello")
    said = refused(lambda: load_data(LOADER), "image 'a/2.png': is no PNG or JPEG image")
    assert str(tmp_path) not in said


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_images_that_are_none(tmp_path: Path, load_data: Any, refused: Check) -> None:
    sound = tmp_path / "sound.png"
    _save(sound)
    whole = sound.read_bytes()
    wide = Image.fromarray(np.zeros((3, 3), dtype=np.uint16))
    wide.save(tmp_path / "wide.png")
    frames = [Image.fromarray(np.full((3, 3), i, dtype=np.uint8)) for i in range(2)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    Image.fromarray(np.zeros((3, 3, 4), dtype=np.uint8)).save(tmp_path / "clear.png")
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(tmp_path / "other.gif")
    folder = tmp_path / "test" / "a"
    folder.mkdir(parents=True)
    for content, words in (
        (b"", "is empty"),
        (b"hello", "is no PNG or JPEG"),
        (whole[: len(whole) // 2], "damaged"),
        ((tmp_path / "other.gif").read_bytes(), "is no PNG or JPEG"),
        ((tmp_path / "wide.png").read_bytes(), "8 bits a channel"),
        ((tmp_path / "moving.png").read_bytes(), "is animated"),
        ((tmp_path / "clear.png").read_bytes(), "mode RGBA, neither grey nor RGB"),
        (_png(100_000, 100_000, b"\0" * 1000), "claims more pixels than are read"),
        (_png(7_100, 7_100, b"\0" * 1000), "claims 7,100 x 7,100 pixels"),
        (_png(7_000, 7_000, b"\0" * 1000), "damaged"),
        (_png(0, 3, b""), "is no PNG or JPEG"),
    ):
        (folder / "1.png").write_bytes(content)
        refused(lambda: load_data(LOADER), "data.test (test), image 'a/1.png'", words)
    (folder / "1.png").write_bytes((tmp_path / "clear.png").read_bytes())
    assert load_data(LOADER, mode="rgb").x.shape == (1, 3, 3, 3)


def test_too_much_for_memory(tmp_path: Path, load_data: Any, refused: Check) -> None:
    """A picture of one colour packs a thousandfold, and many of them fill any memory."""
    path = tmp_path / "test" / "a" / "0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(_png(7_000, 7_000, b"\0" * 7_001 * 7_000))
    for i in range(1, 30):
        (path.parent / f"{i}.png").symlink_to(path)
    refused(lambda: load_data(LOADER), "30 images of 7000 x 7000 grey need 5,880,000,000 bytes")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=8), jpeg=st.booleans())
def test_noise_is_refused_in_one_sentence(
    place: float, noise: bytes, jpeg: bool, tmp_path: Path, load_data: Any
) -> None:
    import io

    stream = io.BytesIO()
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(pixels).save(stream, "JPEG" if jpeg else "PNG")
    raw = bytearray(stream.getvalue())
    at = int(place * (len(raw) - len(noise)))
    raw[at : at + len(noise)] = noise
    folder = tmp_path / "test" / "a"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1.png").write_bytes(raw)
    try:
        data = load_data(LOADER)
    except DataError as error:
        said = str(error)
    else:
        assert np.isfinite(data.x).all()
        return
    assert "\n" not in said
    assert said.startswith("data.test (test), image 'a/1.png'")


def test_options() -> None:
    for bad in (
        {"size": (0, 3)},
        {"size": (3,)},
        {"mode": "cmyk"},
        {"filter": "best"},
        {"path": ""},
    ):
        with pytest.raises(ValidationError):
            LOADER.Options(**bad)
