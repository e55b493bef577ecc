"""The torch-export and torchscript loaders: only when trusted, then networks like any other."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robreport import DataSchema, Needs
from robreport_plugins.loaders.torch_file import TorchLoader
from robreport_plugins.loaders.torch_program import ExportLoader, ScriptLoader

Check = Callable[..., str]
INPUT = {"shape": [2, 6, 5]}


def _net() -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(36, 3),
    )  # fmt: skip
    net(torch.randn(40, 2, 6, 5) * 3 + 1)
    return net


def _export(net: nn.Module, path: Path, batch: int | None) -> Path:
    x = torch.rand(batch or 2, 2, 6, 5)
    dynamic = None if batch else ({0: torch.export.Dim("n")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (x,), dynamic_shapes=dynamic), path)
    return path


def _script(net: nn.Module, path: Path, *, trace: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.rand(2, 2, 6, 5)
        found = torch.jit.trace(net, x, check_trace=False) if trace else torch.jit.script(net)
        torch.jit.save(found, path)
    return path


@pytest.fixture(params=["dynamic", "batch of 1", "batch of 4", "script", "trace"])
def saved(request: Any, tmp_path: Path) -> tuple[Any, Path]:
    net = _net().eval()
    if request.param == "script":
        return ScriptLoader(), _script(net, tmp_path / "net.pt")
    if request.param == "trace":
        return ScriptLoader(), _script(net, tmp_path / "net.pt", trace=True)
    batch = {"dynamic": None, "batch of 1": 1, "batch of 4": 4}[request.param]
    return ExportLoader(), _export(net, tmp_path / "net.pt2", batch)


def test_it_is_the_network(saved: Any, load_model: Any) -> None:
    loader, path = saved
    handle = load_model(loader, path, trusted=True, input=INPUT, batch_size=3)
    x = np.random.default_rng(0).random((7, 2, 6, 5), dtype=np.float32)
    net = _net().eval()
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).double()
    np.testing.assert_allclose(handle.logits(x), expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(handle.predict(x), expected.argmax(1).numpy())
    assert handle.offers == (
        Needs.CLASSIFICATION | Needs.PROBABILITIES | Needs.LOGITS | Needs.GRADIENTS
        | Needs.PARAMETERS
    )  # fmt: skip
    assert f"{sum(p.numel() for p in net.parameters()):,} parameters" in handle.kind
    assert "trusted" in str(handle.facts["file format"])
    own, given = (torch.from_numpy(x).requires_grad_() for _ in range(2))
    net(own)[:, 1].sum().backward()
    module = handle.torch_module()
    module(given)[:, 1].sum().backward()
    assert given.grad is not None
    assert own.grad is not None
    torch.testing.assert_close(given.grad, own.grad)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    np.testing.assert_allclose(handle.logits(x), expected.numpy(), atol=1e-6)
    assert not module.training


def test_the_input_is_transformed_first(saved: Any, load_model: Any) -> None:
    loader, path = saved
    options = {"shape": [2, 4, 3], "pad": 1, "normalize": [[0.5], [0.25]]}
    handle = load_model(loader, path, trusted=True, input=options)
    x = np.random.default_rng(0).random((3, 2, 4, 3), dtype=np.float32)
    padded = (np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))) - 0.5) / 0.25
    with torch.no_grad():
        expected = _net().eval()(torch.from_numpy(padded.astype(np.float32)))
    np.testing.assert_allclose(handle.logits(x), expected.numpy(), atol=1e-5)


def test_untrusted_files_are_not_read(saved: Any, load_model: Any, refused: Check) -> None:
    loader, path = saved
    refused(lambda: load_model(loader, path, input=INPUT), "trusted = true", "run code")


class _Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_why_an_exported_program_must_be_trusted(
    tmp_path: Path, load_model: Any, refused: Check
) -> None:
    """A .pt2 file whose weights are said to be pickled runs what is in their place."""
    path = _export(_net().eval(), tmp_path / "net.pt2", None)
    evil = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("model_weights_config.json"):
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
                assert b'"use_pickle": true' in content
            if name.endswith("weights/weight_0"):
                content = pickle.dumps(_Payload(tmp_path / "ran"))
            new.writestr(name, content)
    refused(lambda: load_model(ExportLoader(), evil, input=INPUT), "trusted = true")
    assert not (tmp_path / "ran").exists()
    refused(lambda: load_model(ExportLoader(), evil, trusted=True, input=INPUT), "cannot read it")
    # once it does not, such a file may be trusted like safetensors
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", ["export", "trace"])
def test_training_mode_is_noticed(
    form: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    net = _net().train()
    if form == "export":
        loader: Any = ExportLoader()
        path = _export(net, tmp_path / "net.pt2", None)
    else:
        loader, path = ScriptLoader(), _script(net, tmp_path / "net.pt", trace=True)
    refused(lambda: load_model(loader, path, trusted=True, input=INPUT), "evaluation mode")


def test_files_that_do_not_fit(tmp_path: Path, load_model: Any, refused: Check) -> None:
    net = _net().eval()
    script = _script(net, tmp_path / "net.pt")
    export = _export(net, tmp_path / "net.pt2", None)
    torch.save(net.state_dict(), tmp_path / "state.pt")

    def load(loader: Any, path: Path, **options: Any) -> Any:
        return load_model(loader, path, trusted=True, **{"input": INPUT, **options})

    refused(lambda: load(ExportLoader(), script), "loader = 'torchscript'")
    refused(lambda: load(ScriptLoader(), export), "'torch-export'")
    refused(lambda: load(ExportLoader(), tmp_path / "state.pt"), "weights")
    refused(lambda: load(ScriptLoader(), tmp_path / "state.pt"), "no TorchScript archive")
    layers: dict[str, Any] = {"architecture": [["linear", "5"]]}
    refused(lambda: load(TorchLoader(), script, **layers), "loader = 'torchscript'")
    refused(lambda: load(TorchLoader(), export, **layers), "loader = 'torch-export'")


@pytest.mark.parametrize("form", ["export", "script"])
def test_programs_that_do_not_fit_or_are_damaged(
    form: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    net = _net().eval()
    loader: Any = ExportLoader() if form == "export" else ScriptLoader()
    path = tmp_path / "net.pt2"
    if form == "export":
        _export(net, path, None)
    else:
        _script(net, path)

    def load(**options: Any) -> Any:
        return load_model(loader, path, trusted=True, **{"input": INPUT, **options})

    refused(lambda: load(input={"shape": [3, 6, 5]}), "check input.shape")
    refused(lambda: load(outputs="value"), "3 outputs")
    schema = DataSchema(
        task="classification", input_shape=(2, 6, 5), layout="image", classes=("a", "b")
    )
    refused(lambda: load(schema=schema), "3 classes")
    refused(lambda: load_model(loader, tmp_path, trusted=True, input=INPUT), "is a folder")
    refused(lambda: load_model(loader, None), "needs a path")
    whole = path.read_bytes()
    for content in (
        b"", bytes(300), b"PK\x03\x04" + bytes(300), whole[:200], whole[: len(whole) // 2],
        whole[:-30],
    ):  # fmt: skip
        path.write_bytes(content)
        refused(load)


def test_a_tuple_is_no_score(tmp_path: Path, load_model: Any, refused: Check) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.flatten(1), x.flatten(1)

    path = _export(Two(), tmp_path / "two.pt2", None)
    refused(lambda: load_model(ExportLoader(), path, trusted=True, input=INPUT), "a tuple")
