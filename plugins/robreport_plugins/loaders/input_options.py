"""The declared `input` of a network: what happens between data space and its first layer."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from robreport import Params

Size = Annotated[int, Field(strict=True, ge=1, le=1 << 24)]
Pad = Annotated[int, Field(strict=True, ge=0, le=4096)]


class InputOptions(Params):
    """From data space to what the network reads: pad, then normalise, then arrange the axes."""

    shape: tuple[Size, ...] | None = Field(
        None,
        min_length=1,
        max_length=4,
        description="Shape of one input in data space: [channels, height, width], or [features]; "
        "the data's own when left out.",
    )
    layout: Literal["NCHW", "NHWC"] = Field(
        "NCHW", description="Order of the axes that the network expects; data space is NCHW."
    )
    pad: Pad | tuple[Pad, Pad, Pad, Pad] = Field(
        0, description="Zeros around an image, before it is normalised: n, or "
        "[left, right, top, bottom].",
    )  # fmt: skip
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = Field(
        None,
        description="[[mean, ...], [std, ...]], one per channel (or feature), or one for all: "
        "the network reads (x - mean) / std.",
    )

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom padding."""
        pad = self.pad
        return (pad, pad, pad, pad) if isinstance(pad, int) else pad

    @property
    def changes_nothing(self) -> bool:
        """Whether the network reads data space as it is."""
        return not any(self.padding) and self.normalize is None and self.layout == "NCHW"

    @model_validator(mode="after")
    def _consistent(self) -> InputOptions:
        if self.normalize is not None:
            mean, std = self.normalize
            if not mean or len(mean) != len(std):
                raise ValueError(
                    f"normalize needs as many means as deviations, found {len(mean)} and {len(std)}"
                )
            if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
                raise ValueError(
                    "normalize needs finite means and deviations above 0, "
                    f"found {list(mean)} and {list(std)}"
                )
        if self.shape is not None:
            problem = self.problem_with(self.shape)
            if problem:
                raise ValueError(problem)
        return self

    def problem_with(self, shape: tuple[int, ...]) -> str:
        """Return why this transformation cannot be applied to such inputs, or nothing."""
        if len(shape) != 3 and (any(self.padding) or self.layout == "NHWC"):
            return (
                "pad and layout = 'NHWC' are for images [channels, height, width], "
                f"and the input's shape is {list(shape)}"
            )
        if self.normalize is not None and len(self.normalize[0]) not in (1, shape[0]):
            what = "channels" if len(shape) == 3 else "entries along its first axis"
            return (
                f"normalize has {len(self.normalize[0])} means, "
                f"and an input of shape {list(shape)} has {shape[0]} {what}"
            )
        return ""

    def words(self) -> str:
        """What is done to an input, as the provenance page says it."""
        done = []
        if any(self.padding):
            done.append("padded by {}, {}, {}, {} (left, right, top, bottom)".format(*self.padding))
        if self.normalize is not None:
            mean, std = (", ".join(f"{v:g}" for v in part[:4]) for part in self.normalize)
            more = ", ..." if len(self.normalize[0]) > 4 else ""
            done.append(f"normalised with mean {mean}{more} and deviation {std}{more}")
        if self.layout == "NHWC":
            done.append("axes arranged as NHWC")
        return ", ".join(done) if done else "none"
