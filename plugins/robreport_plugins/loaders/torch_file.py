"""The ``torch`` loader: weights from a file, the architecture declared beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.against_data import check_against_data, data_space_shape
from robreport_plugins.loaders.beside_spec import check_reference
from robreport_plugins.loaders.input_options import InputOptions
from robreport_plugins.loaders.layer_list import parse_layers

if TYPE_CHECKING:
    from torch import nn

    from robreport_plugins.loaders.network import Array, Trainer
    from robreport_plugins.loaders.weights import State

_Word = str | int | float | list[int]


class TorchOptions(Params):
    """Keys of a ``loader = "torch"`` model, beside name, version, path, sha256 and trusted."""

    architecture: str | list[str | list[_Word]] = Field(
        description="'module:callable' of a Python file beside the audit file, or a list of "
        "layers such as [['conv', '0', 2, 1], ['relu'], ['flatten'], ['linear', '5']]."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments for the architecture's callable."
    )
    input: InputOptions = Field(
        default_factory=InputOptions,
        description="From data space to what the network reads: shape, layout, pad, normalize.",
    )
    outputs: Literal["logits", "probabilities", "value"] = Field(
        "logits",
        description="What the network returns: scores before the softmax (a single one is a "
        "binary logit), probabilities, or one value for regression.",
    )
    train: str | None = Field(
        None,
        description="'module:callable' called as train(x, y, seed): x float32 in data space, y "
        "int64 classes (float64 values), returning a trained network; one with a parameter "
        "'transform' is also given the module from data space to what the network reads.",
    )
    initial: str | None = Field(
        None,
        min_length=1,
        description="File of the weights before training, relative to the audit file.",
    )
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(
        500, description="Inputs per forward pass."
    )

    @field_validator("train")
    @classmethod
    def _train_is_a_reference(cls, value: str | None) -> str | None:
        return None if value is None else check_reference(value)

    @field_validator("architecture", mode="before")
    @classmethod
    def _architecture_is_readable(cls, value: Any) -> Any:
        # Before the types are looked at, since its own sentences say more than theirs.
        if isinstance(value, str):
            return check_reference(value)
        if isinstance(value, list | tuple):
            parse_layers(value)
        return value

    @model_validator(mode="after")
    def _arguments_have_a_callable(self) -> TorchOptions:
        if self.arguments and not isinstance(self.architecture, str):
            raise ValueError("arguments go to a callable, and architecture is a list of layers")
        bad = [key for key in self.arguments if not re.fullmatch(r"[A-Za-z_]\w*", key)]
        if bad:
            raise ValueError(f"arguments has keys that are no Python names: {bad}")
        return self


class TorchLoader:
    """Loads PyTorch weights (safetensors or a state dict) into a declared architecture."""

    Options: ClassVar[type[Params]] = TorchOptions
    summary: ClassVar[str] = (
        "PyTorch network: safetensors or a state dict, with its architecture declared"
    )

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file of weights is for a drafted audit; None when it is something else."""
        from robreport_plugins.loaders.network_guess import guess_weights

        return guess_weights(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the network; gradients, parameters, and refit where ``train`` is declared.

        Raises
        ------
        ModelError
            The file, the architecture or their fit is wrong; one sentence says which.
        """
        import torch

        from robreport_plugins.loaders.data_space import DataSpaceNetwork, InputSpace
        from robreport_plugins.loaders.network import NetworkSetup, TorchHandle
        from robreport_plugins.loaders.weights import read_weights

        options: TorchOptions = source.options
        if source.path is None:
            raise ModelError(
                f"model {source.name!r}: needs a path to its weights (safetensors or a state dict)."
            )
        where = f"model {source.name!r} ({source.path.name})"
        if source.device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(
                f"{where}: device {source.device!r} is asked for and torch sees none; "
                "set execution.device = 'cpu'."
            )
        shape = data_space_shape(source, where)
        space = InputSpace(options.input, shape)
        state, form = read_weights(source.path, where)
        network, words, origin = _network(source, state, space.out_shape, where)
        count = sum(p.numel() for p in network.parameters())
        trainer, train_words = _trainer(source, where)
        setup = NetworkSetup(
            name=source.name,
            kind=f"PyTorch {words}, {count:,} parameters",
            where=where,
            input_shape=shape,
            outputs=options.outputs,
            device=source.device,
            batch_size=options.batch_size,
        )
        module = DataSpaceNetwork(space, network, options.outputs)
        handle = TorchHandle(
            setup,
            module,
            trainer=trainer,
            initial=_initial(source, space.out_shape, where),
        )
        check_against_data(handle, source, where, options.outputs)
        handle.facts = {
            "file format": form,
            "architecture": origin,
            "parameters": count,
            "input transformation": options.input.words(),
            "outputs": options.outputs,
            **({"training function": train_words} if train_words else {}),
        }
        return handle


def _network(
    source: ModelSource, state: State, shape: tuple[int, ...], where: str
) -> tuple[nn.Module, str, str]:
    """Return the network with these weights, its name in words, and where it is declared."""
    options: TorchOptions = source.options
    if isinstance(options.architecture, str):
        from robreport_plugins.loaders.architecture import callable_network

        network, origin = callable_network(
            options.architecture, options.arguments, source.base, state, where
        )
        return network, type(network).__name__, origin
    from robreport_plugins.loaders.layer_list import summarise
    from robreport_plugins.loaders.layers import build_network

    layers = parse_layers(options.architecture)
    if layers[-1].name == "sigmoid" and options.outputs == "logits":
        raise ModelError(
            f"{where}: the architecture ends in a sigmoid, and outputs = 'logits' is declared; "
            "leave the sigmoid out, or declare outputs = 'probabilities'."
        )
    built, _ = build_network(layers, state, shape, where)
    return built, f"network, {summarise(layers)}", "declared layer list"


def _trainer(source: ModelSource, where: str) -> tuple[Trainer | None, str]:
    """Return the function that trains a network again, and its name in words."""
    reference = source.options.train
    if reference is None:
        return None, ""
    from robreport_plugins.loaders.architecture import trainer_from

    return trainer_from(reference, source.base, source.options.outputs, where)


def _initial(source: ModelSource, shape: tuple[int, ...], where: str) -> Mapping[str, Array] | None:
    """Return the declared initial parameters by their names in the handle's torch module."""
    given = source.options.initial
    if given is None:
        return None
    from robreport_plugins.loaders.weights import read_weights

    path = source.base / given
    place = f"{where}: initial weights {path.name}"
    state, _ = read_weights(path, place)
    network, _, _ = _network(source, state, shape, place)
    return {f"network.{n}": p.detach().numpy().copy() for n, p in network.named_parameters()}
