"""The ``torch-export`` and ``torchscript`` loaders: networks that bring their own code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.against_data import check_against_data, data_space_shape
from robreport_plugins.loaders.input_options import InputOptions
from robreport_plugins.loaders.regular_file import beginning

if TYPE_CHECKING:
    from robreport_plugins.loaders.program_file import Program


class ProgramOptions(Params):
    """Keys of such a model, beside name, version, path, sha256 and trusted."""

    input: InputOptions = Field(
        default_factory=InputOptions,
        description="From data space to what the network reads: shape, layout, pad, normalize.",
    )
    outputs: Literal["logits", "probabilities", "value"] = Field(
        "logits",
        description="What the network returns: scores before the softmax (a single one is a "
        "binary logit), probabilities, or one value for regression.",
    )
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(
        500, description="Inputs per forward pass, where the network does not fix it."
    )


class ExportLoader:
    """Loads programs of ``torch.export``; reading one can run code, so it must be trusted."""

    Options: ClassVar[type[Params]] = ProgramOptions
    summary: ClassVar[str] = "PyTorch program saved by torch.export (.pt2), with trusted = true"

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no exported program."""
        from robreport_plugins.loaders.program_guess import guess_program

        return guess_program(path, "torch.export")

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the network; gradients and parameters as those of a module.

        Raises
        ------
        ModelError
            It is not trusted, cannot be read, or does not fit the data.
        """
        path, where = _trusted(
            source, "torch.export.load unpickles and evaluates parts of such a file"
        )
        from robreport_plugins.loaders.program_file import read_exported

        return _handle(source, read_exported(path, source.device, where), where)


class ScriptLoader:
    """Loads TorchScript archives; one holds code, so it must be trusted."""

    Options: ClassVar[type[Params]] = ProgramOptions
    summary: ClassVar[str] = "PyTorch network saved by torch.jit.save (.pt), with trusted = true"

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no TorchScript."""
        from robreport_plugins.loaders.program_guess import guess_program

        return guess_program(path, "torchscript")

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the network; gradients and parameters as those of a module.

        Raises
        ------
        ModelError
            It is not trusted, cannot be read, or does not fit the data.
        """
        path, where = _trusted(source, "such a file holds code")
        from robreport_plugins.loaders.program_file import read_script

        return _handle(source, read_script(path, source.device, where), where)


def _trusted(source: ModelSource, reason: str) -> tuple[Path, str]:
    """Return the file and how sentences begin, if it may be read at all."""
    if source.path is None:
        raise ModelError(f"model {source.name!r}: needs a path to its file.")
    where = f"model {source.name!r} ({source.path.name})"
    beginning(source.path, where, ModelError)
    if not source.trusted:
        raise ModelError(
            f"{where}: {reason}, so that reading it can run code; say trusted = true if you trust "
            "it, or export the network to ONNX or save its weights as safetensors."
        )
    return source.path, where


def _handle(source: ModelSource, program: Program, where: str) -> ModelHandle:
    """Return the program as a model of this audit."""
    from robreport_plugins.loaders.data_space import DataSpaceNetwork, InputSpace
    from robreport_plugins.loaders.network import NetworkSetup, TorchHandle
    from robreport_plugins.loaders.program_file import settle

    options: ProgramOptions = source.options
    shape = data_space_shape(source, where)
    space = InputSpace(options.input, shape)
    network = settle(program, space.out_shape, source.device, where)
    count = sum(p.numel() for p in network.parameters())
    setup = NetworkSetup(
        name=source.name,
        kind=f"PyTorch program, {count:,} parameters",
        where=where,
        input_shape=shape,
        outputs=options.outputs,
        device=source.device,
        batch_size=options.batch_size,
    )
    handle = TorchHandle(setup, DataSpaceNetwork(space, network, options.outputs))
    check_against_data(handle, source, where, options.outputs)
    handle.facts = {
        "file format": program.words,
        "parameters": count,
        "input transformation": options.input.words(),
        "outputs": options.outputs,
        **({"batch": f"fixed to {network.batch}"} if network.batch is not None else {}),
    }
    return handle
