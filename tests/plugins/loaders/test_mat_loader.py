"""The mat loader: networks kept as MATLAB arrays, whatever their sizes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.signal

from robreport import DataSchema, ModelError, Needs
from robreport_plugins.loaders import mat_file
from robreport_plugins.loaders.mat_model import MatLoader

LOADER = MatLoader()
Check = Callable[..., str]
INPUT = {"shape": [2, 9, 7]}


def _arrays(stride: int = 2, padding: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    h, w = 9, 7
    for k in (3, 2):
        h, w = ((size + 2 * padding - k) // stride + 1 for size in (h, w))
    sizes = {
        "weights_conv1": (3, 3, 2, 5), "biases_conv1": (1, 5),
        "weights_conv2": (2, 2, 5, 4), "biases_conv2": (1, 4),
        "weights_fc1": (4 * h * w, 6), "biases_fc1": (1, 6),
        "weights_fc2": (6, 3), "biases_fc2": (1, 3),
    }  # fmt: skip
    return {n: (0.5 * rng.standard_normal(s)).astype(np.float32) for n, s in sizes.items()}


def _plain(arrays: dict[str, Any], x: Any, stride: int, padding: int) -> Any:
    """Return the scores by SciPy's correlation, one image at a time, written for NHWC."""
    found = []
    for image in x:
        h = image.transpose(1, 2, 0).astype(np.float64)
        for i in (1, 2):
            weight, bias = arrays[f"weights_conv{i}"], arrays[f"biases_conv{i}"]
            h = np.pad(h, ((padding, padding), (padding, padding), (0, 0)))
            maps = [
                sum(
                    scipy.signal.correlate2d(h[..., c], weight[:, :, c, o], mode="valid")
                    for c in range(h.shape[2])
                )[::stride, ::stride] + bias[0, o]
                for o in range(weight.shape[3])
            ]  # fmt: skip
            h = np.maximum(np.stack(maps, axis=-1), 0)
        h = np.maximum(h.reshape(-1) @ arrays["weights_fc1"] + arrays["biases_fc1"][0], 0)
        found.append(h @ arrays["weights_fc2"] + arrays["biases_fc2"][0])
    return np.array(found)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("stride", "padding"), [(2, 1), (1, 0), (2, 2)])
def test_against_plain_loops(
    stride: int, padding: int, packed: bool, tmp_path: Path, load_model: Any
) -> None:
    arrays = _arrays(stride, padding)
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, {**arrays, "note": "hello"}, do_compression=packed)
    handle = load_model(LOADER, path, input=INPUT, stride=stride, padding=padding)
    x = np.random.default_rng(1).random((4, 2, 9, 7), dtype=np.float32)
    np.testing.assert_allclose(handle.logits(x), _plain(arrays, x, stride, padding), atol=1e-4)
    assert Needs.GRADIENTS | Needs.PARAMETERS | Needs.LOGITS in handle.offers
    assert f"{sum(a.size for a in arrays.values()):,} parameters" in handle.kind


def test_linear_layers_alone(tmp_path: Path, load_model: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = {"weights_fc1": rng.standard_normal((4, 3)), "biases_fc1": rng.standard_normal((1, 3))}
    scipy.io.savemat(tmp_path / "n.mat", arrays)
    handle = load_model(LOADER, tmp_path / "n.mat", input={"shape": [1, 2, 2]})
    x = rng.random((5, 1, 2, 2), dtype=np.float32)
    expected = x.reshape(5, 4) @ arrays["weights_fc1"] + arrays["biases_fc1"]
    np.testing.assert_allclose(handle.logits(x), expected, atol=1e-5)


def _without(name: str) -> dict[str, Any]:
    return {k: v for k, v in _arrays().items() if k != name}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (_without("weights_fc1") | {"weights_fc2": np.ones((6, 3))}, ("weights_fc1",)),
        (_without("biases_conv2"), ("has no biases_conv2",)),
        (_without("weights_conv1"), ("has no weights_conv1",)),
        ({"a": np.ones(3)}, ("has no weights_fc1", "a")),
        (_arrays() | {"weights_fc1": np.ones((7, 6))}, ("fc1",)),
        (_arrays() | {"weights_conv2": np.ones((2, 2, 4, 4))}, ("conv2",)),
        (_arrays() | {"biases_fc2": np.ones((1, 4))}, ("biases_fc2",)),
        (_arrays() | {"weights_conv1": np.ones((3, 3))}, ("weights_conv1",)),
        (_arrays() | {"weights_fc2": np.full((6, 3), np.nan)}, ("NaN",)),
        (_arrays() | {"weights_fc2": np.full((6, 3), 1e300)}, ("too large",)),
        (_arrays() | {"weights_fc2": np.ones((6, 3)) * 1j}, ("complex",)),
        (_arrays() | {"weights_fc2": np.array([[1, "a"]], dtype=object)}, ("no array of numbers",)),
        (_arrays() | {"weights_fc2": "text"}, ("no array of numbers",)),
        (_arrays() | {"weights_fc2": {"a": 1}}, ("no array of numbers",)),
    ],
)
def test_other_arrays(
    arrays: dict[str, Any], words: tuple[str, ...], tmp_path: Path, load_model: Any, refused: Check
) -> None:
    scipy.io.savemat(tmp_path / "n.mat", arrays)
    refused(lambda: load_model(LOADER, tmp_path / "n.mat", input=INPUT), *words)


def test_damaged_files(tmp_path: Path, load_model: Any, refused: Check) -> None:
    path = tmp_path / "n.mat"
    contents = []
    for packed in (True, False):
        scipy.io.savemat(path, _arrays(), do_compression=packed)
        contents.append(path.read_bytes())
    header = contents[0][:128]
    rng = np.random.default_rng(0)
    damaged = [b"", bytes(200), rng.bytes(500), b"PK\x03\x04" + bytes(200), header, header[:60],
               header + b"\x0f", header + rng.bytes(100), b"\x89HDF" + bytes(200),
               b"MATLAB 7.3 MAT-file" + bytes(300)]  # fmt: skip
    damaged += [content[: int(len(content) * part)]
                for content in contents for part in (0.3, 0.7, 0.999)]  # fmt: skip
    for content in damaged:
        path.write_bytes(content)
        refused(lambda: load_model(LOADER, path, input=INPUT))
    loaded, x = 0, rng.random((2, 2, 9, 7)).astype(np.float32)
    for _ in range(50):
        content = bytearray(contents[int(rng.integers(2))])
        at = int(rng.integers(128, len(content) - 8))
        content[at : at + 4] = rng.bytes(4)
        path.write_bytes(content)
        try:
            handle = load_model(LOADER, path, input=INPUT)
        except ModelError:
            refused(lambda: load_model(LOADER, path, input=INPUT))
        else:
            # Another weight, or a byte that nothing depends on: it is what SciPy reads.
            loaded += 1
            expected = _plain(scipy.io.loadmat(path), x, 2, 1)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(handle.logits(x), expected, atol=1e-5 * scale)
    assert 0 < loaded < 50
    refused(lambda: load_model(LOADER, None), "needs a path")


def test_bombs(
    tmp_path: Path, load_model: Any, refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What unpacks to more than is allowed is counted, not kept."""
    monkeypatch.setattr(mat_file, "LARGEST_CONTENT", 1 << 22)
    scipy.io.savemat(tmp_path / "n.mat", _arrays())
    header = (tmp_path / "n.mat").read_bytes()[:128]
    packed = zlib.compress(bytes(1 << 24))
    path = tmp_path / "bomb.mat"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    refused(lambda: load_model(LOADER, path, input=INPUT), "unpacks to more")


def test_it_fits_the_data(tmp_path: Path, load_model: Any, refused: Check) -> None:
    scipy.io.savemat(tmp_path / "n.mat", _arrays())
    schema = DataSchema(
        task="classification", input_shape=(2, 9, 7), layout="image", classes=("a", "b")
    )
    refused(lambda: load_model(LOADER, tmp_path / "n.mat", schema=schema), "3 classes", "2")
    refused(
        lambda: load_model(LOADER, tmp_path / "n.mat", input={**INPUT, "layout": "NHWC"}), "layout"
    )
    refused(lambda: load_model(LOADER, tmp_path / "n.mat", input={"shape": [1, 9, 7]}), "conv1")
