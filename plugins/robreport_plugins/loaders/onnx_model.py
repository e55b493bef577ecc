"""The ``onnx`` loader: predictions by onnxruntime, gradients by a conversion to torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from robreport import ModelError, ModelGuess, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.input_options import InputOptions
from robreport_plugins.loaders.regular_file import beginning


class OnnxOptions(Params):
    """Keys of a ``loader = "onnx"`` model, beside name, version, path and sha256."""

    input: InputOptions = Field(
        default_factory=InputOptions,
        description="From data space to what the network reads: shape, layout, pad, normalize.",
    )
    output: str | Annotated[int, Field(strict=True, ge=-1000, le=1000)] | None = Field(
        None,
        description="The output with one score per class (or the value), by name or position; "
        "found when only one holds floating-point numbers.",
    )
    outputs: Literal["auto", "logits", "probabilities", "value"] = Field(
        "auto",
        description="What that output is; auto: the value in a regression audit, probabilities "
        "behind a softmax or where they are positive and sum to 1, else scores.",
    )
    labels: Literal["auto", "names", "codes"] = Field(
        "auto",
        description="Whether labels that the file names are the data's class names or their "
        "indices; auto finds out, and refuses when both fit and differ.",
    )
    gradients: bool | None = Field(
        None,
        strict=True,
        description="true: refuse a network without an exact conversion to torch; false: "
        "predictions only; left out: gradients where every operator has a conversion.",
    )
    tolerance: Annotated[float, Field(gt=0, le=0.01)] = Field(
        1e-4,
        description="Largest relative difference allowed between onnxruntime and the conversion.",
    )
    external_data: str | None = Field(
        None,
        min_length=1,
        description="File of the weights that are kept outside the network's file, relative to "
        "the audit file.",
    )
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(
        500, description="Inputs per run, where the network does not fix it."
    )


class OnnxLoader:
    """Loads ONNX networks; onnxruntime and the conversion to torch must agree."""

    Options: ClassVar[type[Params]] = OnnxOptions
    summary: ClassVar[str] = (
        "ONNX network: onnxruntime predicts, gradients by a conversion to torch that agrees"
    )

    def recognise(self, path: Path) -> ModelGuess | None:
        """Return what a file is for a drafted audit; None when it is no ONNX network."""
        from robreport_plugins.loaders.program_guess import guess_onnx

        return guess_onnx(path)

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the network; gradients where its operators have a conversion.

        Raises
        ------
        ModelError
            The packages are missing, the file cannot be read safely or does not fit the data,
            or both runtimes differ; one sentence says which and where.
        """
        if source.path is None:
            raise ModelError(f"model {source.name!r}: needs a path to its file (.onnx).")
        where = f"model {source.name!r} ({source.path.name})"
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise ModelError(
                f"{where}: ONNX networks need the packages onnx and onnxruntime "
                f"({error.name or 'one'} cannot be imported); pip install robreport[onnx]."
            ) from None
        # torch and onnxruntime come in before memory is bounded
        from robreport_plugins.loaders.memory_bound import EXTRA, memory_bound
        from robreport_plugins.loaders.onnx_assembly import assemble

        _, size = beginning(source.path, where, ModelError)
        most = EXTRA + 20 * size
        try:
            with memory_bound(most):
                return assemble(source, source.path, where)
        except MemoryError:
            raise ModelError(
                f"{where}: takes more than {most / 2**30:.0f} GiB to be tried out; it is refused."
            ) from None
