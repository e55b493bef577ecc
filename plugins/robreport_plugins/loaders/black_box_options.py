"""The keys that every black box has: what it is given, and what it gives back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from robreport import Params
from robreport_plugins.loaders.input_options import InputOptions

Returns = Literal["probabilities", "logits", "labels", "values"]
Number = Literal["float32", "float64", "uint8"]
Batch = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class BlackBoxOptions(Params):
    """Keys of a model that is only asked for its predictions."""

    returns: Returns | None = Field(
        None,
        description="What it gives for each input: probabilities (rows that sum to 1), logits "
        "(scores before the softmax), labels (one class index or name) or values (regression). "
        "When left out it is found out, and refused where that is not certain.",
    )
    classes: tuple[str, ...] = Field(
        (),
        max_length=100_000,
        description="The data's class names in the model's own order; the data's order when "
        "left out.",
    )
    labels: Literal["auto", "names", "codes"] = Field(
        "auto",
        description="Whether labels that are numbers are class names or class indices; auto "
        "refuses where both are possible and differ.",
    )
    input: InputOptions = Field(
        default_factory=InputOptions,
        description="From data space to what the model reads: shape, layout, pad, normalize.",
    )
    dtype: Number | None = Field(
        None,
        description="Numbers that the model reads: float32 (float64 for tables) when left out; "
        "uint8 turns images in [0, 1] into whole numbers 0 to 255.",
    )
    flatten: bool = Field(False, description="Whether each input is one flat list of numbers.")
    frame: bool = Field(
        False,
        description="Give a table with its column names, and categories as their text, in place "
        "of plain numbers.",
    )
    batch: Batch = Field(256, description="Inputs per call.")

    @model_validator(mode="after")
    def _black_box_is_consistent(self) -> BlackBoxOptions:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names a class twice")
        if self.classes and self.returns == "values":
            raise ValueError("classes are for a classification, and returns = 'values' is none")
        if self.labels != "auto" and self.returns not in (None, "labels"):
            raise ValueError("labels says how returns = 'labels' is read, and something else is")
        if self.frame and (
            self.flatten or self.dtype is not None or not self.input.changes_nothing
        ):
            raise ValueError("frame gives the table as it is; leave input, dtype and flatten out")
        if self.dtype == "uint8" and self.input.normalize is not None:
            raise ValueError("dtype = 'uint8' and normalize exclude each other")
        return self
