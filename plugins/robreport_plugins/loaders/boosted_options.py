"""What both boosting libraries need to be told."""

from __future__ import annotations

from pydantic import Field

from robreport import Params


class BoostedOptions(Params):
    """What both boosting libraries need to be told, since their files do not hold it."""

    classes: tuple[str | int, ...] = Field(
        (),
        description="The labels of the model's classes 0, 1, ... in its order, as the data names "
        "them (or their indices); the data's own order when left out.",
    )
