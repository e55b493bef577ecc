"""What entries of ``linear.robust_hinge`` and ``linear.exact_attack`` may set."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    Strict,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from robreport import Eps
from robreport import Params as ParamsBase

MOST_EPS = 12
_NUMBER = r"(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,2})?"
# Exponents of two digits: a larger one would be a number of many pages before it is refused.
_EPS = re.compile(rf"\s*({_NUMBER})\s*(?:/\s*({_NUMBER})\s*)?")
DEFAULT_EPS = ("0.1", "0.2", "0.3")
_EPOCHS = (
    "of SGD (10; where that is fewer than the 1,270 steps of the published experiment, as many as "
    "make 5,000)"
)


def read_eps(text: str) -> Eps:
    """Return the budget that a number or a fraction such as ``8/255`` stands for.

    Raises
    ------
    ValueError
        Neither, or negative, or not finite.
    """
    match = _EPS.fullmatch(text)
    above, below = (Fraction(part or 1) for part in match.groups()) if match else (None, None)
    value = float(above / below) if above is not None and below else math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"eps must be a number of at least 0 or a fraction such as '8/255', found {text[:60]!r}"
        )
    return Eps(value, text.strip())


def _eps_text(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ValueError(f"eps must be a number or a fraction, found a {type(given).__name__}")
    return read_eps(str(given)).text


EpsText = Annotated[
    str,
    BeforeValidator(_eps_text),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]
ClassLabel = Annotated[str, Strict()] | Annotated[int, Strict(), Field(ge=0)]
NormName = Literal["L1", "L2", "Linf"]


def budgets(texts: tuple[str, ...]) -> tuple[Eps, ...]:
    """Return the budgets of texts that were validated, in ascending order."""
    return tuple(sorted(read_eps(text) for text in texts))


class AttackParams(ParamsBase):
    """Which inputs are attacked, and how far."""

    classes: Annotated[
        tuple[ClassLabel, ...] | None,
        Field(
            min_length=2,
            max_length=2,
            description="use the examples of these two classes only, by name or by number",
        ),
    ] = None
    eps: Annotated[
        tuple[EpsText, ...] | None,
        Field(
            min_length=1,
            max_length=MOST_EPS,
            description="perturbation sizes; those of the entry's threats when left out, else "
            "0.1, 0.2 and 0.3",
        ),
    ] = None
    norm: Annotated[
        NormName | None,
        Field(description="norm of the perturbation where the entry names no threats (Linf)"),
    ] = None
    clip: Annotated[
        bool | None,
        Field(
            description="keep perturbed inputs inside data.bounds: whether scalars are of the "
            "clipped attack; both curves are drawn where bounds are declared. True when left out "
            "and bounds are declared"
        ),
    ] = None
    grid_max: Annotated[
        PositiveFloat | None,
        Field(
            allow_inf_nan=False,
            description="end of the curve of accuracy against eps; 5/3 of the largest eps when "
            "left out",
        ),
    ] = None
    grid_points: Annotated[
        int, Field(ge=2, le=1001, description="points of that curve, 0 and its end included")
    ] = 101
    standardise: Annotated[
        bool,
        Field(
            description="divide each feature by its standard deviation in the training set; eps is "
            "then in standard deviations"
        ),
    ] = False
    thresholds: Annotated[
        tuple[Annotated[FiniteFloat, Field(ge=0, le=1)], ...],
        Field(max_length=5, description="accuracies drawn as lines, such as those required"),
    ] = ()

    @field_validator("eps")
    @classmethod
    def _different(cls, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if texts is not None and len({e.value for e in budgets(texts)}) < len(texts):
            raise ValueError("an eps is named twice")
        return texts

    @field_validator("classes")
    @classmethod
    def _two(cls, classes: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if classes is not None and classes[0] == classes[1]:
            raise ValueError("two different classes are needed")
        return classes


class HingeParams(AttackParams):
    """How linear classifiers are trained, and what is shown of them."""

    preset: Annotated[
        Literal["blog"] | None,
        Field(
            description='"blog": the published experiment step for step (eps 0.1, 0.2, 0.3 in '
            "Linf, the published random start, ten epochs of batches of 100 in the order of the "
            "data, an attack up to 0.5 without clipping)"
        ),
    ] = None
    solver: Annotated[
        Literal["sgd", "optimum", "both"],
        Field(
            description='"sgd": stochastic gradient descent; "optimum": the minimum of the convex '
            'problem, with a duality gap; "both"'
        ),
    ] = "sgd"
    epochs: Annotated[PositiveInt | None, Field(le=10_000, description=_EPOCHS)] = None
    batch: Annotated[PositiveInt | None, Field(description="examples of a step of SGD (100)")] = (
        None
    )
    lr: Annotated[
        PositiveFloat | None,
        Field(
            allow_inf_nan=False,
            description="step length of SGD on the mean loss (0.1 for the regular model, 0.01 for "
            "robust ones)",
        ),
    ] = None
    momentum: Annotated[
        float | None, Field(ge=0, lt=1, allow_inf_nan=False, description="of SGD (0)")
    ] = None
    shuffle: Annotated[
        bool | None,
        Field(
            description="draw the batches anew in each epoch (false: in the order of the data, as "
            "the preset does when it is left out)"
        ),
    ] = None
    tolerance: Annotated[
        float,
        Field(
            ge=1e-9,
            le=1e-2,
            description="the optimum's largest gap / max(0.001, loss)",
        ),
    ] = 1e-6
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] | None,
        Field(
            min_length=1,
            max_length=20,
            description="starting points of SGD; the first one's models are reported on, the "
            "others show the spread. One from the audit's seed when left out. With the preset the "
            "published start is reported on, and all of these show the spread; with the preset and "
            "shuffle = true all begin at the published start, with an order of their own",
        ),
    ] = None
    validation: Annotated[
        float | None,
        Field(
            gt=0,
            le=0.5,
            allow_inf_nan=False,
            description="share of the training set held out to choose the training eps",
        ),
    ] = None
    target: Annotated[
        EpsText | None,
        Field(
            description="perturbation size at which the held-out examples are attacked to choose "
            "the training eps; the largest eps when left out"
        ),
    ] = None
    weight: Annotated[
        int | None,
        Field(
            ge=0,
            description="position of the weight along which the loss is drawn; the regular model's "
            "largest when left out",
        ),
    ] = None
    shown: Annotated[
        int, Field(ge=0, le=20, description="misclassified inputs that are shown of each model")
    ] = 6
    export: Annotated[
        bool, Field(description="keep the trained models as safetensors, JSON and ONNX")
    ] = True

    @model_validator(mode="after")
    def _fits(self) -> HingeParams:
        if self.preset is not None:
            fixed = ("eps", "norm", "epochs", "batch", "lr", "momentum", "grid_max")
            given = [name for name in fixed if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"preset = {self.preset!r} decides {', '.join(given)}: leave "
                    f"{'it' if len(given) == 1 else 'them'} out"
                )
            if self.grid_points != 101 or self.standardise or self.clip:
                raise ValueError(
                    f"preset = {self.preset!r} attacks at 101 points, without clipping, in the "
                    "units of the data: leave grid_points, clip and standardise out"
                )
            if self.solver == "optimum":
                raise ValueError(
                    f'preset = {self.preset!r} trains by SGD: leave solver out, or write "both"'
                )
        if self.target is not None and self.validation is None:
            raise ValueError("target is for choosing eps: give validation, the share held out")
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is named twice")
        return self
