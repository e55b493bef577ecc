"""The ``mat`` loader: convolutional networks kept as MATLAB arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.against_data import check_against_data, data_space_shape
from robreport_plugins.loaders.input_options import InputOptions


class MatOptions(Params):
    """Keys of a ``loader = "mat"`` model, beside name, version, path and sha256."""

    input: InputOptions = Field(
        default_factory=InputOptions,
        description="From data space to what the network reads: shape, pad, normalize.",
    )
    stride: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        2, description="Stride of every convolution, which the file does not say."
    )
    padding: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        1, description="Zeros around the input of every convolution, which the file does not say."
    )
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(
        500, description="Inputs per forward pass."
    )


class MatLoader:
    """Loads the networks of the MMR study: convolutions, then linear layers, ReLU between."""

    Options: ClassVar[type[Params]] = MatOptions
    summary: ClassVar[str] = (
        "Network in a MATLAB file: weights_conv1 ..., weights_fc1 ..., biases_*, flattened as NHWC"
    )

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no MATLAB network."""
        from robreport_plugins.loaders.program_guess import guess_matlab

        return guess_matlab(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the network; gradients, parameters and logits.

        Raises
        ------
        ModelError
            The file cannot be read safely, or its arrays are no such network for this data.
        """
        if source.path is None:
            raise ModelError(f"model {source.name!r}: needs a path to its file (.mat).")
        where = f"model {source.name!r} ({source.path.name})"
        from robreport_plugins.loaders.data_space import DataSpaceNetwork, InputSpace
        from robreport_plugins.loaders.layer_list import parse_layers, summarise
        from robreport_plugins.loaders.layers import build_network
        from robreport_plugins.loaders.mat_file import read_network
        from robreport_plugins.loaders.network import NetworkSetup, TorchHandle

        options: MatOptions = source.options
        if options.input.layout != "NCHW":
            raise ModelError(
                f"{where}: input.layout is declared, and the loader arranges the axes itself; "
                "leave it out."
            )
        shape = data_space_shape(source, where)
        space = InputSpace(options.input, shape)
        state, written = read_network(source.path, options.stride, options.padding, where)
        layers = parse_layers(written)
        network, _ = build_network(layers, state, space.out_shape, where)
        count = sum(p.numel() for p in network.parameters())
        setup = NetworkSetup(
            name=source.name,
            kind=f"MATLAB network, {summarise(layers)}, {count:,} parameters",
            where=where,
            input_shape=shape,
            outputs="logits",
            device=source.device,
            batch_size=options.batch_size,
        )
        handle = TorchHandle(setup, DataSpaceNetwork(space, network, "logits"))
        check_against_data(handle, source, where, "logits")
        handle.facts = {
            "file format": "MATLAB 5",
            "parameters": count,
            "input transformation": options.input.words(),
            "convolutions": f"stride {options.stride}, padding {options.padding}",
            "flattened as": "height, width, channel",
        }
        return handle
