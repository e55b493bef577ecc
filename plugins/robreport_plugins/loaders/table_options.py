"""What may be declared of a table, whatever kind of file it is in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from robreport import Params

Position = Annotated[int, Field(strict=True)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class TableOptions(Params):
    """Keys that the loaders of tables share."""

    path: str = Field(min_length=1, description="The file, relative to root.")
    label: str | Position | None = Field(
        None,
        description="Name or position of the label's column (-1 is the last), empty for none; by "
        "default the label of [data] schema.",
    )
    columns: tuple[str | Position, ...] | None = Field(
        None,
        min_length=1,
        description="Names or positions of the columns to use, in this order; all but the label "
        "and those that schema drops when left out.",
    )
    names: tuple[str, ...] = Field(
        (),
        description="Names of all the columns of the file, label included, in their order; for a "
        "file without a header, or instead of its names.",
    )
    missing: tuple[str, ...] = Field(
        ("", "?", "NA", "N/A", "NaN", "nan", "null"),
        description="What stands for a missing value, and nothing else does.",
    )
    missing_values: Literal["keep", "drop", "refuse"] = Field(
        "keep",
        description="What becomes of a missing value in a column in use: kept as NaN, its row left "
        "out, or the table refused. A row without a label is left out or refused.",
    )
    categories: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Values of each column of categories, in the order of their codes 0, 1, 2 ...; "
        "any other value is refused.",
    )
    classes: tuple[str, ...] = Field(
        (), description="Values of the label in the order of their class numbers."
    )
    label_map: dict[str, str] = Field(
        default_factory=dict,
        description="Other spellings of the label's values: { found = meant }.",
    )
    test_size: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the rows that are the test part, where one file holds both.",
    )
    part: Literal["train", "test", "all"] | None = Field(
        None,
        description="Which part of a divided file; by default train for the train split and test "
        "for the test split.",
    )
    random_state: Seed = Field(0, description="Seed of the division.")
    stratify: bool = Field(True, description="Keep the share of each class the same in both parts.")

    @model_validator(mode="after")
    def _each_once(self) -> TableOptions:
        for key, words in {"names": self.names, "classes": self.classes, **self.categories}.items():
            if len(set(words)) < len(words):
                twice = next(word for word in words if words.count(word) > 1)
                raise ValueError(f"{key} names {twice!r} twice")
        return self
