"""The npz loader: layouts, scales, labels, and archives that are not what they say."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from robreport_plugins.loaders.npz import NpzLoader

LOADER = NpzLoader()
Check = Callable[..., str]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., None]:
    def write(**arrays: Any) -> None:
        np.savez_compressed(tmp_path / "d.npz", **arrays)

    return write


def test_images(save: Any, load_data: Any) -> None:
    save(x=PIXELS, y=LABELS)
    data = load_data(LOADER, path="d.npz", layout="NHWC")
    np.testing.assert_array_equal(data.x, PIXELS.transpose(0, 3, 1, 2) / np.float32(255))
    assert data.x.flags.c_contiguous
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int64
    assert data.layout == "image"
    save(x=PIXELS.transpose(0, 3, 1, 2), y=LABELS.astype(np.float64)[:, None])
    again = load_data(LOADER, path="d.npz")
    np.testing.assert_array_equal(again.x, data.x)
    np.testing.assert_array_equal(again.y, LABELS)
    save(x=PIXELS[..., 0], y=LABELS)
    np.testing.assert_array_equal(load_data(LOADER, path="d.npz").x, data.x[:, :1])
    save(x=PIXELS / 255.0, y=LABELS)
    np.testing.assert_allclose(load_data(LOADER, path="d.npz", layout="NHWC").x, data.x)
    save(x=PIXELS, y=LABELS)
    raw = load_data(LOADER, path="d.npz", layout="NHWC", scale=1.0)
    assert raw.x.max() == PIXELS.max()


def test_an_ambiguous_layout_is_asked_for(save: Any, load_data: Any, refused: Check) -> None:
    save(x=PIXELS, y=LABELS)
    refused(lambda: load_data(LOADER, path="d.npz"), "layout = 'NHWC'")
    assert load_data(LOADER, path="d.npz", layout="NCHW").x.shape == (6, 5, 4, 3)
    refused(lambda: load_data(LOADER, path="d.npz", layout="NHW"), "needs 3 dimensions")


def test_tables_stay_as_they_are(save: Any, load_data: Any, refused: Check) -> None:
    table = RNG.integers(0, 2, (6, 3), dtype=np.uint8)
    save(x=table, y=LABELS)
    data = load_data(LOADER, path="d.npz", features=("a", "b", "c"))
    np.testing.assert_array_equal(data.x, table)
    assert data.x.dtype == np.float64
    assert data.layout == "table"
    assert data.features == ("a", "b", "c")
    refused(lambda: load_data(LOADER, path="d.npz", features=("a",)), "names 1 columns")
    save(x=np.ones((6, 3, 2)), y=LABELS)
    assert load_data(LOADER, path="d.npz").layout == "array"
    save(x=np.asfortranarray(np.arange(18.0).reshape(6, 3)).astype(">f4"), y=LABELS)
    found = load_data(LOADER, path="d.npz").x
    np.testing.assert_array_equal(found, np.arange(18.0).reshape(6, 3))
    assert found.dtype.isnative


def test_labels(save: Any, load_data: Any, refused: Check) -> None:
    save(x=np.ones((3, 2)), y=np.array(["b", "a", "b"]))
    data = load_data(LOADER, path="d.npz")
    assert data.classes == ("a", "b")
    assert data.y.tolist() == [1, 0, 1]
    data = load_data(LOADER, path="d.npz", classes=("b", "c", "a"))
    assert data.y.tolist() == [0, 2, 0]
    refused(lambda: load_data(LOADER, path="d.npz", classes=("b", "c")), "'a'")
    refused(lambda: load_data(LOADER, path="d.npz", classes=("b", "b", "a")), "repeat")
    refused(lambda: load_data(LOADER, path="d.npz", task="regression"), "needs numbers")
    save(x=np.ones((3, 2)), y=np.array([0.5, 1, 2]))
    refused(lambda: load_data(LOADER, path="d.npz"), "task = 'regression'", "0.5")
    assert load_data(LOADER, path="d.npz", task="regression").y.tolist() == [0.5, 1, 2]
    for y, words in (
        (np.array([0.0, np.nan, 1]), "1 labels are no whole numbers"),
        (np.array([-1, 0, 1]), "begin at 0"),
        (np.array([2**63, 0, 1], dtype=np.uint64), "begin at 0"),
        (np.eye(3), "argmax"),
        (np.array([0, 1]), "3 inputs and 2 labels"),
        (np.array(1), "one per input"),
    ):
        save(x=np.ones((3, 2)), y=y)
        refused(lambda: load_data(LOADER, path="d.npz"), "data.test (d.npz)", words)


def test_sets_without_labels(save: Any, load_data: Any, refused: Check) -> None:
    save(x=np.ones((3, 2)))
    assert load_data(LOADER, "ood.a", path="d.npz").y is None
    assert load_data(LOADER, "extra.a", path="d.npz", y="").y is None
    refused(lambda: load_data(LOADER, path="d.npz"), "has no array 'y'")
    refused(lambda: load_data(LOADER, path="d.npz", y=""), "needs labels")
    save(images=np.ones((3, 2)), labels=np.zeros(3))
    refused(lambda: load_data(LOADER, path="d.npz", x="image"), "Did you mean 'images'")
    assert load_data(LOADER, path="d.npz", x="images", y="labels").y.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((0, 3)), "is empty"),
        (np.ones(3), "one row per input"),
        (np.array(1.0), "one row per input"),
        (np.array([["a"]]), "numbers are needed"),
        (np.ones((3, 2), dtype=complex), "plain real numbers"),
        (np.zeros(3, dtype=[("a", "f4")]), "plain real numbers"),
        (np.zeros(3, dtype="M8[s]"), "plain real numbers"),
    ],
)
def test_inputs_that_are_none(
    x: Any, words: str, save: Any, load_data: Any, refused: Check
) -> None:
    save(x=x, y=np.zeros(len(x) if x.ndim else 1))
    refused(lambda: load_data(LOADER, path="d.npz"), words)


def test_one_archive_of_several_splits(save: Any, load_data: Any, refused: Check) -> None:
    train, test = np.arange(8.0).reshape(4, 2), np.arange(6.0).reshape(3, 2) + 100
    save(x_train=train, y_train=[0, 1, 0, 1], X_test=test, y_test=[1, 0, 1], x=train[:1], y=[0],
         region=np.array(["n", "s", "n"]), site=[7, 8, 7])  # fmt: skip
    for role, expected, labels in (("train", train, [0, 1, 0, 1]), ("test", test, [1, 0, 1])):
        data = load_data(LOADER, role, path="d.npz")
        np.testing.assert_array_equal(data.x, expected)
        assert data.y.tolist() == labels
    assert load_data(LOADER, "ood.far", path="d.npz").x.tolist() == [[0, 1]]  # the plain ones
    data = load_data(LOADER, path="d.npz", group="region")
    assert (data.groups.tolist(), data.group) == (["n", "s", "n"], "region")
    assert load_data(LOADER, path="d.npz", group="site").groups.tolist() == [7, 8, 7]
    refused(lambda: load_data(LOADER, path="d.npz", group="regon"), "Did you mean 'region'")
    refused(lambda: load_data(LOADER, "train", path="d.npz", group="region"), "4 inputs and 3")


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_pickles_are_never_read(tmp_path: Path, load_data: Any, refused: Check) -> None:
    objects = np.array([_Trap(tmp_path / "mark")], dtype=object)
    np.savez(tmp_path / "d.npz", x=objects, y=LABELS)
    refused(lambda: load_data(LOADER, path="d.npz"), "pickled objects")
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(_Trap(tmp_path / "mark")))
    refused(lambda: load_data(LOADER, path="e.npz"), "no NumPy array")
    assert not (tmp_path / "mark").exists()


def _npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(100),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3)}"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", bytes(16)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}", bytes(24)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)}", bytes(24)),
        _npy("{'descr': '<f8', 'shape': (1, 2)}", bytes(16)),
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2)}", bytes(16)),
        _npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1, 2)}"),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True, 2)}", bytes(16))[:-1],
        _npy("__import__('os').system('true')"),
        _npy("(" * 300),
        _npy("'''"),
        _npy("{" + " " * 20000 + "}", version=2),
    ],
)
def test_arrays_that_are_none(
    member: bytes, tmp_path: Path, load_data: Any, refused: Check
) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", b"")
    refused(lambda: load_data(LOADER, path="d.npz"), "array 'x'")


def test_a_bomb_is_not_unpacked(tmp_path: Path, load_data: Any, refused: Check) -> None:
    """Zeros pack a thousandfold; an archive that claims far more than that is refused unread."""
    header = _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000, 2)}")
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(1000))
        archive.writestr("y.npy", b"")
    raw = bytearray((tmp_path / "d.npz").read_bytes())
    claim = struct.pack("<I", len(header) + 4_000_000_000)
    raw[22:26] = claim
    at = raw.find(b"PK\x01\x02") + 24
    raw[at : at + 4] = claim
    (tmp_path / "d.npz").write_bytes(raw)
    refused(lambda: load_data(LOADER, path="d.npz"), "not believable")


def test_overlapping_members_are_refused(tmp_path: Path, load_data: Any, refused: Check) -> None:
    """Many names for the same packed bytes, as in a quine bomb."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(200_000))
    raw = packed.getvalue()
    at = raw.find(b"PK\x01\x02")
    end = raw.rfind(b"PK\x05\x06")
    entry = raw[at:end]
    count = 2000
    tail = bytearray(raw[end:])
    tail[8:12] = struct.pack("<HH", count, count)
    tail[12:16] = struct.pack("<I", len(entry) * count)
    (tmp_path / "d.npz").write_bytes(raw[:at] + entry * count + bytes(tail))
    refused(lambda: load_data(LOADER, path="d.npz"), "not believable")


def test_each_cut_is_refused(save: Any, load_data: Any, refused: Check, tmp_path: Path) -> None:
    save(x=PIXELS, y=LABELS)
    whole = (tmp_path / "d.npz").read_bytes()
    for cut in (0, 1, 3, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:cut])
        refused(lambda: load_data(LOADER, path="cut.npz", layout="NHWC"))


def test_a_flipped_bit_is_noticed(load_data: Any, refused: Check, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.ones((50, 4)), y=np.zeros(50))
    raw = bytearray((tmp_path / "d.npz").read_bytes())
    raw[900] ^= 1
    (tmp_path / "d.npz").write_bytes(raw)
    refused(lambda: load_data(LOADER, path="d.npz"), "damaged")


def test_not_a_file(tmp_path: Path, load_data: Any, refused: Check) -> None:
    refused(lambda: load_data(LOADER, path="none.npz"), "no such file")
    refused(lambda: load_data(LOADER, path="."), "is a folder")
    refused(lambda: load_data(LOADER, path="/dev/zero"), "not a regular file")
    refused(lambda: load_data(LOADER, path="a\0b"), "cannot be read")
    np.save(tmp_path / "x.npy", np.ones(3))
    refused(lambda: load_data(LOADER, path="x.npy"), "no .npz archive")


def test_options() -> None:
    for bad in ({}, {"path": ""}, {"path": "a", "scale": 0}, {"path": "a", "layout": "HW"}):
        with pytest.raises(ValidationError):
            LOADER.Options(**bad)


def test_what_is_held_in_memory_is_bounded_not_what_is_stored(
    tmp_path: Path, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte becomes a number of eight bytes, or of four in an image."""
    monkeypatch.setattr("robreport_plugins.loaders.npz.LARGEST", 8000)
    y = np.arange(100) % 2
    np.savez(tmp_path / "d.npz", x=np.ones((100, 10), np.uint8), y=y)
    assert load_data(LOADER, path="d.npz").x.nbytes == 8000
    np.savez(tmp_path / "d.npz", x=np.ones((100, 11), np.uint8), y=y)
    refused(lambda: load_data(LOADER, path="d.npz"), "1,100 values need 8,800 bytes in memory")
    np.savez(tmp_path / "d.npz", x=np.ones((100, 1, 4, 5), np.uint8), y=y)
    assert load_data(LOADER, path="d.npz").x.nbytes == 8000
    np.savez(tmp_path / "d.npz", x=np.ones((100, 3, 7), np.uint8), y=y)
    refused(lambda: load_data(LOADER, path="d.npz"), "need 8,400 bytes in memory")


def test_what_packs_too_well_and_texts_that_are_too_long(
    tmp_path: Path, load_data: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = np.arange(100) % 2
    names = np.array(["a" * 200, "b"])[y]
    np.savez(tmp_path / "d.npz", x=np.ones((100, 2)), y=names, g=names)
    data = load_data(LOADER, path="d.npz", group="g")
    assert data.classes == ("a" * 200, "b")
    np.savez(tmp_path / "d.npz", x=np.ones((100, 2)), y=y, g=np.array(["a" * 201, "b"])[y])
    refused(lambda: load_data(LOADER, path="d.npz", group="g"), "array 'g'", "201 characters")
    monkeypatch.setattr("robreport_plugins.loaders.bounded._ALWAYS", 1 << 18)
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((100, 4000)), y=y)
    refused(lambda: load_data(LOADER, path="d.npz"), "3,200,000 bytes", "not believable")
