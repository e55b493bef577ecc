"""The torch loader: networks as declared, and a sentence for everything that does not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from robreport import DataSchema, ModelError, Needs, NotOffered
from robreport_plugins.loaders.torch_file import TorchLoader, TorchOptions

LOADER = TorchLoader()
Check = Callable[..., str]

EVERY_LAYER = [
    ["conv", "c", 1, 1],
    ["batchnorm", "b"],
    ["leaky_relu", 0.2],
    ["maxpool", 2],
    ["conv", "d", [2, 1], [0, 1]],
    ["tanh"],
    ["avgpool", 2, 1, 1],
    ["adaptive_avgpool", 2],
    ["flatten"],
    ["dropout", 0.3],
    ["linear", "f"],
    ["sigmoid"],
    ["linear", "g"],
]


def _net() -> nn.Sequential:
    """The same network as `EVERY_LAYER`, built by hand."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, 1, 1),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 3, (2, 1), (0, 1), bias=False),
        nn.Tanh(),
        nn.AvgPool2d(2, 1, 1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(12, 6),
        nn.Sigmoid(),
        nn.Linear(6, 4),
    )
    net(torch.randn(50, 2, 9, 8) * 3 + 1)  # running statistics that are not the default
    return net.eval()


def _state(net: nn.Sequential) -> dict[str, torch.Tensor]:
    keys = {"0": "c", "1": "b", "4": "d", "10": "f", "12": "g"}
    return {
        f"{keys[k.split('.')[0]]}.{k.split('.')[1]}": v.clone() for k, v in net.state_dict().items()
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_file(_state(_net()), path)
    return path


def _mlp(path: Path, *sizes: int, seed: int = 0) -> list[list[str]]:
    """Write a perceptron's weights; return its layer list."""
    generator = torch.Generator().manual_seed(seed)
    state, layers = {}, []
    for i, (a, b) in enumerate(pairwise(sizes)):
        state[f"{i}.weight"] = torch.randn(b, a, generator=generator)
        state[f"{i}.bias"] = torch.randn(b, generator=generator)
        layers += [["linear", str(i)], ["relu"]]
    save_file(state, path)
    return layers[:-1]


def test_every_layer_agrees_with_torch(saved: Path, load_model: Any) -> None:
    handle = load_model(LOADER, saved, architecture=EVERY_LAYER, input={"shape": [2, 9, 8]})
    x = np.random.default_rng(0).random((7, 2, 9, 8), dtype=np.float32)
    with torch.no_grad():
        expected = _net()(torch.from_numpy(x)).double()
    np.testing.assert_array_equal(handle.logits(x), expected.numpy())
    np.testing.assert_array_equal(handle.predict(x), expected.argmax(1).numpy())
    np.testing.assert_allclose(handle.predict_proba(x), expected.softmax(1).numpy(), atol=1e-15)
    assert handle.predict(x).dtype == np.int64
    assert handle.n_outputs == 4
    # Batch normalisation's running statistics are no parameters.
    count = sum(p.numel() for p in _net().parameters())
    assert handle.facts["parameters"] == count
    assert handle.kind.endswith(f", {count:,} parameters")
    assert handle.offers == (
        Needs.CLASSIFICATION
        | Needs.PROBABILITIES
        | Needs.LOGITS
        | Needs.GRADIENTS
        | Needs.PARAMETERS
    )


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_flatten_order(order: str, tmp_path: Path, load_model: Any) -> None:
    weight = torch.arange(48, dtype=torch.float32).reshape(2, 24) / 48
    path = tmp_path / "w.safetensors"
    save_file({"f.weight": weight}, path)
    handle = load_model(
        LOADER,
        path,
        architecture=[["flatten", order], ["linear", "f"]],
        input={"shape": [2, 3, 4]},
    )
    x = np.random.default_rng(0).random((3, 2, 3, 4), dtype=np.float32)
    axes = (0, 1, 2, 3) if order == "NCHW" else (0, 2, 3, 1)
    np.testing.assert_allclose(
        handle.logits(x), x.transpose(axes).reshape(3, -1) @ weight.numpy().T, rtol=1e-6
    )


def test_input_transformation(tmp_path: Path, load_model: Any) -> None:
    """Pad, then normalise, then arrange: against the same written out in NumPy."""
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
        import torch
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.f = torch.nn.Linear(90, 3)
            def forward(self, x):
                assert x.shape[1:] == (6, 5, 3), x.shape
                return self.f(x.flatten(1))
        """)
    )
    torch.manual_seed(0)
    f = nn.Linear(90, 3)
    path = tmp_path / "w.safetensors"
    save_file({"f.weight": f.weight.data, "f.bias": f.bias.data}, path)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    handle = load_model(
        LOADER,
        path,
        architecture="nets:Net",
        input={
            "shape": [3, 3, 4],
            "layout": "NHWC",
            "pad": [0, 1, 1, 2],
            "normalize": [mean, std],
        },
    )
    x = np.random.default_rng(0).random((4, 3, 3, 4), dtype=np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1))).transpose(0, 2, 3, 1)
    expected = ((padded - np.array(mean)) / np.array(std)).reshape(4, -1) @ f.weight.data.numpy().T
    np.testing.assert_allclose(handle.logits(x), expected + f.bias.data.numpy(), atol=1e-5)
    assert handle.input_shape == (3, 3, 4)
    assert "padded by 0, 1, 1, 2" in str(handle.facts["input transformation"])
    assert "Net, 273 parameters" in handle.kind
    assert "nets:Net (nets.py, SHA-256" in str(handle.facts["architecture"])


def test_gradient_reaches_data_space(tmp_path: Path, load_model: Any) -> None:
    path = tmp_path / "w.safetensors"
    weight = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    save_file({"f.weight": weight}, path)
    handle = load_model(
        LOADER,
        path,
        architecture=[["linear", "f"]],
        input={"shape": [2], "normalize": [[0.0], [0.25]]},
    )
    module = handle.torch_module()
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    x = torch.zeros(1, 2, requires_grad=True)
    module(x)[0, 0].backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[4.0, -8.0]])


def test_torch_module_is_a_copy(saved: Path, load_model: Any) -> None:
    handle = load_model(LOADER, saved, architecture=EVERY_LAYER, input={"shape": [2, 9, 8]})
    x = np.random.default_rng(0).random((3, 2, 9, 8), dtype=np.float32)
    before = handle.logits(x)
    with torch.no_grad():
        for p in handle.torch_module().parameters():
            p.fill_(9.0)
    np.testing.assert_array_equal(handle.logits(x), before)


def test_batches_do_not_change_the_answer(saved: Path, load_model: Any) -> None:
    x = np.random.default_rng(0).random((11, 2, 9, 8), dtype=np.float32)
    x.setflags(write=False)
    options = {"architecture": EVERY_LAYER, "input": {"shape": [2, 9, 8]}}
    whole = load_model(LOADER, saved, **options).logits(x)
    parts = load_model(LOADER, saved, **options, batch_size=4).logits(x)
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert load_model(LOADER, saved, **options).logits(x[:0]).shape == (0, 4)
    assert load_model(LOADER, saved, **options).predict(x[:0]).shape == (0,)


def test_one_output_is_a_binary_logit(tmp_path: Path, load_model: Any) -> None:
    path = tmp_path / "w.safetensors"
    layers = _mlp(path, 3, 1)
    handle = load_model(LOADER, path, architecture=layers, input={"shape": [3]})
    x = np.random.default_rng(0).standard_normal((20, 3))
    logits = handle.logits(x)
    assert handle.n_outputs == 2
    assert logits.shape == (20, 2)
    assert (logits[:, 0] == 0).all()
    np.testing.assert_allclose(handle.predict_proba(x)[:, 1], 1 / (1 + np.exp(-logits[:, 1])))
    np.testing.assert_array_equal(handle.predict(x), (logits[:, 1] > 0).astype(int))


def test_declared_probabilities(tmp_path: Path, load_model: Any, refused: Check) -> None:
    path = tmp_path / "w.safetensors"
    layers = [*_mlp(path, 3, 1), ["sigmoid"]]
    handle = load_model(
        LOADER, path, architecture=layers, outputs="probabilities", input={"shape": [3]}
    )
    x = np.random.default_rng(0).standard_normal((20, 3))
    plain = load_model(LOADER, path, architecture=layers[:-1], input={"shape": [3]})
    np.testing.assert_allclose(handle.predict_proba(x), plain.predict_proba(x), atol=1e-6)
    assert Needs.LOGITS not in handle.offers
    assert Needs.PROBABILITIES in handle.offers
    with pytest.raises(NotOffered):
        handle.logits(x)
    scores = handle.torch_module()(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(scores.softmax(1).numpy(), handle.predict_proba(x), atol=1e-6)
    # a saturated output has a finite logarithm
    assert torch.isfinite(handle.torch_module()(torch.full((1, 3), 1e6))).all()
    refused(
        lambda: load_model(LOADER, path, architecture=layers, input={"shape": [3]}),
        "ends in a sigmoid",
    )
    # Scores declared as probabilities: seen at once, or on the first input that shows it.
    refused(
        lambda: load_model(
            LOADER,
            path,
            architecture=layers[:-1],
            outputs="probabilities",
            input={"shape": [3], "normalize": [[0.0], [0.01]]},
        ),
        "declare outputs = 'logits'",
    )
    handle = load_model(
        LOADER, path, architecture=layers[:-1], outputs="probabilities", input={"shape": [3]}
    )
    refused(lambda: handle.predict(100 * x), "declare outputs = 'logits'")


def test_undeclared_softmax_is_noticed(tmp_path: Path, load_model: Any, refused: Check) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "def net():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softmax(dim=1))\n"
    )
    path = tmp_path / "w.safetensors"
    _mlp(path, 3, 4)
    refused(
        lambda: load_model(LOADER, path, architecture="nets:net", input={"shape": [3]}),
        "outputs are probabilities",
    )
    handle = load_model(
        LOADER, path, architecture="nets:net", outputs="probabilities", input={"shape": [3]}
    )
    assert handle.predict_proba(np.zeros((2, 3))).sum() == pytest.approx(2)


def test_regression(tmp_path: Path, load_model: Any, refused: Check) -> None:
    path = tmp_path / "w.safetensors"
    layers = _mlp(path, 3, 4, 1)
    schema = DataSchema(task="regression", input_shape=(3,), layout="table")
    handle = load_model(LOADER, path, architecture=layers, outputs="value", schema=schema)
    x = np.random.default_rng(0).standard_normal((5, 3))
    assert handle.predict(x).shape == (5,)
    assert handle.predict(x).dtype == np.float64
    assert handle.n_outputs == 1
    assert handle.offers == Needs.REGRESSION | Needs.GRADIENTS | Needs.PARAMETERS
    assert handle.torch_module()(torch.zeros(2, 3)).shape == (2, 1)
    with pytest.raises(NotOffered):
        handle.predict_proba(x)
    refused(
        lambda: load_model(LOADER, path, architecture=layers, schema=schema), "outputs = 'value'"
    )


def test_the_shape_may_come_from_the_data(tmp_path: Path, load_model: Any, refused: Check) -> None:
    path = tmp_path / "w.safetensors"
    layers = _mlp(path, 3, 2)
    schema = DataSchema(task="classification", input_shape=(3,), layout="table", classes=("a", "b"))
    assert load_model(LOADER, path, architecture=layers, schema=schema).input_shape == (3,)
    refused(lambda: load_model(LOADER, path, architecture=layers), "input.shape is not declared")
    refused(
        lambda: load_model(
            LOADER, path, architecture=layers, schema=schema, input={"shape": [1, 1, 3]}
        ),
        "the data has inputs of shape [3]",
    )
    three = DataSchema(
        task="classification", input_shape=(3,), layout="table", classes=("a", "b", "c")
    )
    refused(lambda: load_model(LOADER, path, architecture=layers, schema=three), "2 classes", "3")


def test_wrong_inputs_are_refused(tmp_path: Path, load_model: Any, refused: Check) -> None:
    path = tmp_path / "w.safetensors"
    handle = load_model(LOADER, path, architecture=_mlp(path, 3, 2), input={"shape": [3]})
    refused(lambda: handle.predict(np.zeros((2, 4))), "takes inputs of shape (3,)")
    refused(lambda: handle.predict(np.full((2, 3), np.nan)), "NaN or infinite outputs on 2 of 2")


# ---------------------------------------------------------------- architecture and weights


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c.weight": None}, ["architecture[0] ['conv', 'c']", "needs the weight 'c.weight'"]),
        ({"c.weight": torch.zeros(4, 3, 3, 3)}, ["architecture[0]", "shape (4, 3, 3, 3)"]),
        ({"c.weight": torch.zeros(4, 18)}, ["architecture[0]", "(out, in, height, width)"]),
        ({"c.bias": torch.zeros(5)}, ["architecture[0]", "'c.bias'", "(5,)"]),
        ({"f.weight": torch.zeros(6, 13)}, ["architecture[10]", "needs (6, 12)"]),
        ({"f.weight": torch.zeros(())}, ["architecture[10]"]),
        ({"b.running_var": -torch.ones(4)}, ["architecture[1]", "negative variances"]),
        ({"b.bias": None}, ["architecture[1]", "both or neither"]),
        ({"b.running_mean": None}, ["architecture[1]", "'b.running_mean'"]),
        ({"h.weight": torch.zeros(1)}, ["'h.weight'", "no layer"]),
        ({"g.weight": None, "G.weight": torch.zeros(4, 6)}, ["Did you mean", "'G.weight'"]),
        ({"d.weight": torch.zeros(3, 4, 3, 3, dtype=torch.int32)}, ["architecture[4]", "int32"]),
    ],
)
def test_weights_that_do_not_fit(
    change: dict[str, torch.Tensor | None],
    words: list[str],
    tmp_path: Path,
    load_model: Any,
    refused: Check,
) -> None:
    state = {k: v for k, v in {**_state(_net()), **change}.items() if v is not None}
    path = tmp_path / "bad.safetensors"
    save_file(state, path)
    refused(
        lambda: load_model(LOADER, path, architecture=EVERY_LAYER, input={"shape": [2, 9, 8]}),
        "(bad.safetensors)",
        *words,
    )


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([["linear", "f"]], [1, 2, 2], "put ['flatten'] before it"),
        ([["maxpool", 2]], [4], "needs an image"),
        ([["maxpool", 3]], [1, 2, 2], "does not fit"),
        ([["batchnorm", "b"]], [2, 2], "needs an image or a flat input"),
        ([["adaptive_avgpool", 30000]], [2, 2, 2], "beyond any network"),
        ([["relu"]], [1, 2, 2], "belong to no layer"),
    ],
)
def test_layers_that_do_not_fit(
    layers: list[Any], shape: list[int], words: str, tmp_path: Path, load_model: Any, refused: Check
) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"f.weight": torch.zeros(2, 4)}, path)
    refused(lambda: load_model(LOADER, path, architecture=layers, input={"shape": shape}), words)


def test_an_output_that_is_no_row_of_scores(
    tmp_path: Path, load_model: Any, refused: Check
) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"c.weight": torch.ones(2, 1, 1, 1)}, path)
    refused(
        lambda: load_model(LOADER, path, architecture=[["conv", "c"]], input={"shape": [1, 2, 2]}),
        "returns shape (3, 2, 2, 2)",
    )


def test_weights_of_other_precision_are_read_as_float32(tmp_path: Path, load_model: Any) -> None:
    path = tmp_path / "w.safetensors"
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        save_file({"f.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)}, path)
        handle = load_model(LOADER, path, architecture=[["linear", "f"]], input={"shape": [2]})
        assert next(handle.torch_module().parameters()).dtype == torch.float32
        np.testing.assert_array_equal(handle.logits(np.eye(2)), [[1, 3], [2, 4]])


# ---------------------------------------------------------------- Python beside the spec

NETS = """
import random
import numpy as np
import torch

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.a = torch.nn.Linear(3, width)
        self.b = torch.nn.Linear(width, 2)
    def forward(self, x):
        return self.b(torch.relu(self.a(x)))

def train(x, y, seed):
    assert x.dtype == np.float32 and y.dtype == np.int64
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
    return net

def train_with(x, y, seed, transform):
    return train(transform(torch.from_numpy(x)).numpy(), y, seed)

def wrong(x, y, seed):
    return Net(5)

def broken(x, y, seed):
    raise RuntimeError("out of luck\\nsecond line")

def no_module(x, y, seed):
    return 3

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    torch.manual_seed(0)
    a, b = nn.Linear(3, 4), nn.Linear(4, 2)
    path = tmp_path / "net.safetensors"
    save_file(
        {"a.weight": a.weight.data, "a.bias": a.bias.data, "b.weight": b.weight.data,
         "b.bias": b.bias.data},
        path,
    )  # fmt: skip
    return path


def _points() -> tuple[Any, Any]:
    x = np.random.default_rng(0).random((60, 3))
    return x, (x[:, 0] > x[:, 1]).astype(np.int64)


@pytest.mark.parametrize("train", ["nets:train", "nets:train_with"])
def test_refit(train: str, nets: Path, load_model: Any) -> None:
    handle = load_model(
        LOADER,
        nets,
        architecture="nets:Net",
        train=train,
        input={"shape": [3], "normalize": [[0.5], [0.25]]},
    )
    assert Needs.REFIT in handle.offers
    x, y = _points()
    state = torch.get_rng_state()
    one, two, other = handle.refit(x, y, 5), handle.refit(x, y, 5), handle.refit(x, y, 6)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one.logits(x), two.logits(x))
    assert not np.array_equal(one.logits(x), other.logits(x))
    assert one.offers == handle.offers
    if train == "nets:train_with":
        assert (one.predict(x) == y).mean() > 0.9
    with torch.inference_mode():
        np.testing.assert_array_equal(handle.refit(x, y, 5).logits(x), one.logits(x))


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ("nets:wrong", "another architecture"),
        ("nets:broken", "RuntimeError: out of luck"),
        ("nets:no_module", "returned a int"),
    ],
)
def test_a_train_that_fails(
    train: str, words: str, nets: Path, load_model: Any, refused: Check
) -> None:
    handle = load_model(LOADER, nets, architecture="nets:Net", train=train, input={"shape": [3]})
    refused(lambda: handle.refit(*_points(), 0), words)


@pytest.mark.parametrize(
    ("architecture", "more", "words"),
    [
        ("nats:Net", {}, ["'nats:Net'", "Did you mean 'nets'"]),
        ("nets:Nett", {}, ["no callable 'Nett'", "Did you mean 'Net'"]),
        ("nets:np", {}, ["no callable 'np'"]),
        ("nets:leaves", {}, ["SystemExit"]),
        ("nets:no_module", {"arguments": {"x": 1, "y": 2, "seed": 3}}, ["returned a int"]),
        ("nets:Net", {"arguments": {"depth": 2}}, ["TypeError"]),
        ("nets:Net", {"arguments": {"width": 5}}, ["'a.weight'", "(4, 3)", "(5, 3)"]),
        ("nets:Net", {"train": "nets:trane"}, ["no callable 'trane'", "train"]),
        ("nets:Net", {"input": {"shape": [4]}}, ["fails on an input of shape (4,)"]),
        ("syntax:Net", {}, ["importing syntax.py failed", "SyntaxError"]),
        ("sibling:Net", {}, ["ModuleNotFoundError", "not on the import path"]),
    ],
)
def test_architectures_that_fail(
    architecture: str,
    more: dict[str, Any],
    words: list[str],
    nets: Path,
    load_model: Any,
    refused: Check,
) -> None:
    (nets.parent / "syntax.py").write_text("def f(:\n")
    (nets.parent / "sibling.py").write_text("import nets\n")
    options = {"input": {"shape": [3]}, **more}
    refused(lambda: load_model(LOADER, nets, architecture=architecture, **options), *words)


def test_missing_and_left_over_weights_of_a_callable(
    nets: Path, load_model: Any, refused: Check
) -> None:
    path = nets.parent / "other.safetensors"
    save_file({"a.weight": torch.zeros(4, 3), "a.bias": torch.zeros(4)}, path)
    load = lambda: load_model(LOADER, path, architecture="nets:Net", input={"shape": [3]})  # noqa: E731
    refused(load, "needs the weights 'b.weight', 'b.bias'")
    full = {"a.weight": (4, 3), "a.bias": (4,), "b.weight": (2, 4), "b.bias": (2,), "c": (1,)}
    save_file({k: torch.zeros(shape) for k, shape in full.items()}, path)
    refused(load, "'c'", "belong to no layer")


def test_two_folders_with_a_file_of_one_name_do_not_meet(tmp_path: Path, load_model: Any) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.eye(2)}, path)
    answers = []
    for factor in (1, -1):
        folder = tmp_path / str(factor)
        folder.mkdir()
        (folder / "nets.py").write_text(
            "import torch\n"
            "class L(torch.nn.Linear):\n"
            f"    def forward(self, x): return {factor} * super().forward(x)\n"
            "def net(): return L(2, 2, bias=False)\n"
        )
        handle = load_model(
            LOADER, path, base=folder, architecture="nets:net", input={"shape": [2]}
        )
        answers.append(handle.logits(np.ones((1, 2)))[0, 0])
        assert not (folder / "__pycache__").exists()
    assert answers == [1, -1]


def test_initial_parameters(nets: Path, load_model: Any, refused: Check) -> None:
    _mlp(nets.parent / "bad.safetensors", 3, 2)
    save_file(
        {"a.weight": torch.full((4, 3), 7.0), "a.bias": torch.zeros(4),
         "b.weight": torch.zeros(2, 4), "b.bias": torch.zeros(2)},
        nets.parent / "initial.safetensors",
    )  # fmt: skip
    options = {"architecture": "nets:Net", "input": {"shape": [3]}}
    handle = load_model(LOADER, nets, **options, initial="initial.safetensors")
    initial = handle.initial_parameters()
    assert initial is not None
    assert {n: p.shape for n, p in initial.items()} == {
        n: tuple(p.shape) for n, p in handle.torch_module().named_parameters()
    }
    assert (initial["network.a.weight"] == 7).all()
    assert load_model(LOADER, nets, **options).initial_parameters() is None
    refused(
        lambda: load_model(LOADER, nets, **options, initial="bad.safetensors"),
        "initial weights bad.safetensors",
    )
    refused(lambda: load_model(LOADER, nets, **options, initial="none.pt"), "no such file")


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "nets"},
        {"architecture": "../nets:net"},
        {"architecture": "nets:net:x"},
        {"architecture": "nets:net", "train": "train"},
        {"architecture": [["relo"]]},
        {"architecture": []},
        {"architecture": [["conv", "0", True]]},
        {"architecture": 3},
        {"architecture": "a.nets:net"},
        {"architecture": [["relu"]], "arguments": {"a": 1}},
        {"architecture": "nets:net", "arguments": {"a b": 1}},
        {"architecture": [["relu"]], "batch_size": 0},
        {"architecture": [["relu"]], "colour": 1},
        {"architecture": [["relu"]], "input": {"shape": [0]}},
        {"architecture": [["relu"]], "input": {"shape": []}},
        {"architecture": [["relu"]], "input": {"shape": [True]}},
        {"architecture": [["relu"]], "input": {"shape": [3], "pad": 2}},
        {"architecture": [["relu"]], "input": {"shape": [3], "layout": "NHWC"}},
        {"architecture": [["relu"]], "input": {"shape": [3, 4, 4], "normalize": [[0, 0], [1, 1]]}},
        {"architecture": [["relu"]], "input": {"normalize": [[0.0], [0.0]]}},
        {"architecture": [["relu"]], "input": {"normalize": [[0.0], [1.0, 1.0]]}},
        {"architecture": [["relu"]], "input": {"normalize": [[float("nan")], [1.0]]}},
        {"architecture": [["relu"]], "input": {"normalize": [[], []]}},
        {},
    ],
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TorchOptions(**options)


def test_options_have_a_schema_with_descriptions() -> None:
    schema = TorchOptions.model_json_schema()
    assert all("description" in field for field in schema["properties"].values())


def test_no_path(load_model: Any, refused: Check) -> None:
    refused(lambda: load_model(LOADER, None, architecture=[["relu"]]), "needs a path")


def test_a_device_that_is_not_there(saved: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    from robreport import ModelSource

    options = TorchOptions(architecture=EVERY_LAYER, input={"shape": [2, 9, 8]})
    source = ModelSource(name="m", path=saved, base=saved.parent, options=options, device="cuda")
    with pytest.raises(ModelError, match="torch sees none"):
        LOADER.load(source)


def test_options_survive_json() -> None:
    """The core hands them to another process as JSON."""
    options = TorchOptions(
        architecture=EVERY_LAYER,
        input={"shape": [2, 9, 8], "pad": [0, 1, 1, 2], "normalize": [[0.1], [0.5]]},
    )
    assert TorchOptions.model_validate_json(options.model_dump_json()) == options
    assert TorchOptions.model_validate(options.model_dump(mode="json")) == options
