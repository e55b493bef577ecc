"""Weights files, whole and hostile: tensors come out, code never runs."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from robreport import ModelError
from robreport_plugins.loaders.weights import read_weights

WHERE = "model 'm' (file)"


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[..., str]:
    """``refuses(path, *words)``."""

    def check(path: Path, *words: str) -> str:
        with pytest.raises(ModelError) as caught:
            read_weights(path, WHERE)
        text = str(caught.value)
        assert text.startswith(WHERE)
        assert "\n" not in text
        assert len(text) < 600
        for word in words:
            assert word in text, text
        return text

    return check


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a")
    torch.save(STATE, tmp_path / "b")
    torch.save({"state_dict": {f"module.{k}": v for k, v in STATE.items()}}, tmp_path / "c")
    for name, form in (("a", "safetensors"), ("b", "PyTorch state dict"), ("c", "PyTorch")):
        state, found = read_weights(tmp_path / name, WHERE)
        assert found.startswith(form)
        assert {k: v.tolist() for k, v in state.items()} == {
            k: v.tolist() for k, v in STATE.items()
        }
        assert state["a.weight"].dtype == torch.float32


def test_each_cut_of_a_safetensors_file_is_refused(tmp_path: Path, refuses: Any) -> None:
    whole = save(STATE)
    for cut in (0, 1, 7, 8, 9, 20, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        refuses(path)


def test_each_cut_of_a_state_dict_is_refused(tmp_path: Path, refuses: Any) -> None:
    torch.save(STATE, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for cut in (1, 4, 30, len(whole) // 2, len(whole) - 1, len(whole) - 30):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        refuses(path)


def test_not_a_file(tmp_path: Path, refuses: Any) -> None:
    refuses(tmp_path, "is a folder")
    refuses(tmp_path / "none", "no such file")
    refuses(Path("/dev/zero"), "not a regular file")
    refuses(tmp_path / ("x" * 5000), "cannot be read")
    refuses(Path("a\0b"), "cannot be read")
    (tmp_path / "text").write_text("hello, world, this is no model")
    refuses(tmp_path / "text", "neither safetensors nor a PyTorch state dict")


class _Trap:
    """Leaves a mark when a pickle of it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_code_in_a_file_never_runs(tmp_path: Path, refuses: Any) -> None:
    mark = tmp_path / "mark"
    plain, nested, protocol0 = (tmp_path / n for n in ("plain", "nested", "old"))
    plain.write_bytes(pickle.dumps(_Trap(mark)))
    protocol0.write_bytes(pickle.dumps(_Trap(mark), protocol=0))
    torch.save({"a": _Trap(mark)}, nested)
    refuses(plain, "plain pickle")
    refuses(protocol0, "plain pickle")
    refuses(nested, "pickled objects")
    assert not mark.exists()


def test_a_pickled_module_is_refused(tmp_path: Path, refuses: Any) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    refuses(tmp_path / "module.pt", "whole module", "state_dict")


def test_torchscript_is_refused(tmp_path: Path, refuses: Any) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"")
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/code/__torch__.py", b"")
    refuses(path, "TorchScript")


def test_legacy_format_is_refused(tmp_path: Path, refuses: Any) -> None:
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refuses(tmp_path / "old.pt", "before 1.6")


def test_other_zip_files_are_refused(tmp_path: Path, refuses: Any) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme", "x")
    refuses(tmp_path / "a.zip", "no PyTorch state dict")


def test_an_archive_that_claims_more_than_it_holds(tmp_path: Path, refuses: Any) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\0" * 5_000_000)
    refuses(tmp_path / "bomb", "not believable")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "no tensors"),
        ([1, 2], "no state dict"),
        ({"a": torch.ones(2), "epoch": 3}, "other than tensors"),
        ({1: torch.ones(2)}, "other than tensors"),
        ({"a": torch.tensor([1.0, float("nan"), float("inf")])}, "2 values that are NaN"),
        ({"a": torch.tensor([1e300], dtype=torch.float64)}, "too large for float32"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
        ({"a": torch.ones(1).expand(10**12)}, "claims shape (1000000000000,)"),
    ],
)
def test_contents_that_are_no_weights(state: Any, words: str, tmp_path: Path, refuses: Any) -> None:
    torch.save(state, tmp_path / "s.pt")
    refuses(tmp_path / "s.pt", words)


def test_a_header_that_lies(tmp_path: Path, refuses: Any) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "lie").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 16)
    refuses(tmp_path / "lie", "damaged safetensors")
    (tmp_path / "long").write_bytes(struct.pack("<Q", 2**62) + b'{"a":1}')
    refuses(tmp_path / "long", "damaged safetensors")


def test_errors_do_not_hang_on_a_pipe(tmp_path: Path, refuses: Any) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    refuses(tmp_path / "pipe", "not a regular file")
