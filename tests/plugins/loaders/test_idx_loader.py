"""The idx loader: MNIST's files, and headers that lie."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robreport_plugins.loaders import bounded
from robreport_plugins.loaders.idx import IdxLoader

LOADER = IdxLoader()
Check = Callable[..., str]


def idx(array: Any, code: int = 8) -> bytes:
    """An IDX file, written from the format's description."""
    array = np.asarray(array)
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4) * 4
LABELS = np.array([3, 1, 0, 2, 3], dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for prefix, shift in (("train", 1), ("t10k", 0)):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx(IMAGES + np.uint8(shift)))
        with gzip.open(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", "wb") as stream:
            stream.write(idx(LABELS))
    return tmp_path


def test_files_are_found_by_role(folder: Path, load_data: Any) -> None:
    for role, part, shift in (
        ("train", None, 1),
        ("test", None, 0),
        ("ood.fashion", None, 0),
        ("calibration", "train", 1),
    ):
        data = load_data(LOADER, role, part=part)
        np.testing.assert_array_equal(data.x[:, 0], (IMAGES + shift) / np.float32(255))
        assert data.x.dtype == np.float32
        assert data.x.shape == (5, 1, 3, 4)
        assert data.y.tolist() == LABELS.tolist()
        assert data.y.dtype == np.int64
        assert data.layout == "image"
        assert str(folder) not in data.source
        assert "5 images of 3 x 4" in data.source


def test_files_by_name(folder: Path, load_data: Any, refused: Check) -> None:
    (folder / "a").write_bytes(idx(IMAGES))
    (folder / "b").write_bytes(idx(LABELS.astype(np.int32), 0x0C))
    assert load_data(LOADER, images="a", labels="b").y.tolist() == LABELS.tolist()
    assert load_data(LOADER, "ood.a", images="a").y is None
    refused(lambda: load_data(LOADER, images="a"), "none of labels")
    refused(lambda: load_data(LOADER, labels="b"), "none of images")
    refused(lambda: load_data(LOADER, images="b", labels="a"), "swapped")


def test_regression_targets(folder: Path, load_data: Any) -> None:
    (folder / "v").write_bytes(idx(np.linspace(0, 1, 5), 0x0E))
    data = load_data(LOADER, task="regression", images="t10k-images-idx3-ubyte", labels="v")
    np.testing.assert_array_equal(data.y, np.linspace(0, 1, 5))


def test_nothing_there(tmp_path: Path, load_data: Any, refused: Check) -> None:
    text = refused(lambda: load_data(LOADER), "t10k-images-idx3-ubyte.gz", "correct root")
    assert str(tmp_path.parent) not in text
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()
    refused(lambda: load_data(LOADER), "has none of")
    refused(lambda: load_data(LOADER, images=".", labels="x"), "is a folder")


def test_out_of_distribution_images_need_no_labels(folder: Path, load_data: Any) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert load_data(LOADER, "ood.a").y is None


def test_counts_that_differ(folder: Path, load_data: Any, refused: Check) -> None:
    (folder / "b").write_bytes(idx(LABELS[:4]))
    refused(
        lambda: load_data(LOADER, images="t10k-images-idx3-ubyte", labels="b"),
        "5 inputs and 4 labels",
    )


def _claim(*shape: int, code: int = 8, data: bytes = b"") -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + data


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0\0\x08", "is truncated"),
        (b"\0\0\x08\x03\0\0", "is truncated"),
        (b"\x01\0\x08\x03" + b"\0" * 20, "no IDX file"),
        (b"\0\0\x07\x03" + b"\0" * 20, "no IDX file"),
        (b"\0\0\x08\x00" + b"\0" * 20, "no IDX file"),
        (b"\0\0\x08\x05" + b"\0" * 40, "no IDX file"),
        (b"\0\0\x08\xff" + b"\0" * 40, "no IDX file"),
        (_claim(2**32 - 1, 2**32 - 1, 2**32 - 1), "more than a file of 16 bytes can hold"),
        (_claim(5, 3, 4, data=bytes(59)), "is truncated: 59 of 60"),
        (_claim(5, 3, 4, data=bytes(61)), "goes on after"),
        (_claim(0, 3, 4), "no data"),
        (_claim(5, 12, data=bytes(60)), "3-dimensional"),
        (_claim(5, 3, 4, code=0x0D, data=bytes(240)), "float32"),
    ],
)
def test_headers_that_lie(
    content: bytes, words: str, folder: Path, load_data: Any, refused: Check
) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(content)
    refused(lambda: load_data(LOADER), "data.test (t10k-images-idx3-ubyte)", words)
    if content:
        (folder / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(content))
        refused(lambda: load_data(LOADER))


def test_damaged_gzip(folder: Path, load_data: Any, refused: Check) -> None:
    whole = gzip.compress(idx(IMAGES))
    path = folder / "t10k-images-idx3-ubyte"
    for cut in (3, 12, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused(lambda: load_data(LOADER))
    flipped = bytearray(whole)
    flipped[-6] ^= 0xFF
    path.write_bytes(bytes(flipped))
    refused(lambda: load_data(LOADER), "damaged")


def test_a_bomb_is_not_unpacked(
    folder: Path, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that claims, and holds, more than the limit is refused before it is read."""
    monkeypatch.setattr("robreport_plugins.loaders.idx.LARGEST", 1000)
    bomb = gzip.compress(_claim(11, 10, 10, data=bytes(1100)))
    (folder / "t10k-images-idx3-ubyte").write_bytes(bomb)
    refused(lambda: load_data(LOADER), "more than a file")
    assert bounded.LARGEST <= 4 * 2**30
