"""What an entry of ``attacks.suite`` may set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from robreport import Params
from robreport_plugins.attacks.catalogue import CATALOGUE, PRESETS


class SuiteParams(Params):
    """Parameters of ``attacks.suite``."""

    attacks: Annotated[
        tuple[str, ...],
        Field(
            description="attacks to run, or presets of several, where model and threat admit "
            f"them; known: {', '.join((*CATALOGUE, *PRESETS))}"
        ),
    ] = ("default",)
    samples: Annotated[
        PositiveInt | Literal["all"],
        Field(description='attack the first so many test inputs, or "all"'),
    ] = 1000
    steps: Annotated[
        PositiveInt,
        Field(
            description="steps of an iterative attack, each restart; of ddn, fmn, closest, cw "
            "and ead the gradients in all"
        ),
    ] = 40
    restarts: Annotated[
        PositiveInt,
        Field(
            description="starts of an iterative attack, all but the first random; of search, "
            "starts besides the first"
        ),
    ] = 1
    random_start: Annotated[
        bool, Field(description="start uniformly in the ball; else at the input itself")
    ] = True
    relative_step: Annotated[
        PositiveFloat,
        Field(description="length of a step as a multiple of eps / steps", allow_inf_nan=False),
    ] = 2.5
    step: Annotated[
        PositiveFloat | None,
        Field(
            description="length of a step in input units, in place of relative_step",
            allow_inf_nan=False,
        ),
    ] = None
    loss: Annotated[
        Literal["cross-entropy", "margin"], Field(description="what the attacks drive up")
    ] = "cross-entropy"
    batch_size: Annotated[PositiveInt, Field(description="inputs attacked at a time")] = 500
    searches: Annotated[
        PositiveInt,
        Field(description="most searches for the constant of CW and EAD, which share the steps"),
    ] = 9
    queries: Annotated[
        PositiveInt,
        Field(
            description="most questions of each input, for square and draws; of hopskipjump they "
            "set the steps, which take more, and search does not use them"
        ),
    ] = 1000
    surrogate_seed: Annotated[
        int, Field(ge=0, description="of the network that transfer is computed on")
    ] = 0
    eot: Annotated[
        PositiveInt,
        Field(description="evaluations averaged for each gradient, for models that are random"),
    ] = 1
    targets: Annotated[
        PositiveInt,
        Field(description="of a targeted threat: aim at the so many commonest classes"),
    ] = 10
    noise_tries: Annotated[
        PositiveInt, Field(description="random perturbations of each example, for noise")
    ] = 10
    gallery: Annotated[
        int, Field(ge=0, le=20, description="examples shown for each threat model")
    ] = 5

    @field_validator("attacks")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = ", ".join((*CATALOGUE, *PRESETS))
        if not names:
            raise ValueError(f"name at least one attack; known: {known}")
        for name in names:
            if name not in CATALOGUE and name not in PRESETS:
                raise ValueError(f"unknown attack {name!r}; known: {known}")
        if len(set(names)) != len(names):
            raise ValueError("an attack is named twice; raise restarts to run it more often")
        return names

    def step_length(self, eps: float) -> float:
        """Return the length of one step of an iterative attack for a radius."""
        return self.relative_step * eps / self.steps if self.step is None else self.step
