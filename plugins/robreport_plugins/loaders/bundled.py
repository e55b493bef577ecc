"""The ``sklearn`` data loader: the sets that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from robreport import DataError, LoadedData, Params, SplitSource
from robreport_plugins.loaders.seeded_split import part_of_role, split_rows

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class BundledOptions(Params):
    """Keys of ``loader = "sklearn"`` under [data] or one of its splits."""

    dataset: Literal["digits", "breast_cancer", "wine", "iris", "diabetes"] = Field(
        description="Which of scikit-learn's sets; diabetes is a regression."
    )
    part: Literal["train", "test", "all"] | None = Field(
        None,
        description="Which part to read; by default train for the train split, test for the test "
        "split, and all for the others.",
    )
    test_size: float = Field(0.3, gt=0, lt=1, description="Share of the rows in the test part.")
    random_state: Seed = Field(0, description="Seed of the split.")
    stratify: bool = Field(True, description="Keep the share of each class the same in both parts.")
    scale: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Inputs are divided by it; by default 16 for digits, so that they lie in "
        "[0, 1], else 1.",
    )
    as_images: bool = Field(
        False, description="Digits as images (1, 8, 8) instead of rows of 64 numbers."
    )


class BundledLoader:
    """Loads scikit-learn's bundled sets, divided by a seeded split."""

    Options: ClassVar[type[Params]] = BundledOptions
    summary: ClassVar[str] = (
        "scikit-learn's digits, breast_cancer, wine, iris or diabetes, with a seeded split"
    )

    def files(self, source: SplitSource) -> tuple[Path, ...]:
        """Return no file: the sets come with scikit-learn, whose version says which they are."""
        return ()

    def load(self, source: SplitSource) -> LoadedData:
        """Return one part of the set, with the names of its columns and classes.

        Raises
        ------
        DataError
            The set does not suit the task, or cannot be divided so.
        """
        from sklearn import datasets

        options: BundledOptions = source.options
        name = options.dataset
        where = f"data.{source.role} (scikit-learn's {name})"
        regression = source.task == "regression"
        if regression != (name == "diabetes"):
            raise DataError(
                f"{where}: is a {'regression' if name == 'diabetes' else 'classification'} set, "
                f"and the audit's task is {source.task}."
            )
        if options.as_images and name != "digits":
            raise DataError(f"{where}: as_images is for digits only; leave it out.")
        found: Any = getattr(datasets, f"load_{name}")()
        x = np.array(found.data, dtype=np.float64)
        y = np.array(found.target, dtype=np.float64 if regression else np.int64)
        scale = options.scale or (16.0 if name == "digits" else 1.0)
        if scale != 1.0:
            x /= scale
        features = tuple(str(feature) for feature in found.feature_names)
        if options.as_images:
            x, features = x.reshape(-1, 1, 8, 8).astype(np.float32), ()
        part = part_of_role(source.role, options.part, where)
        rows = split_rows(
            y,
            len(x),
            part,
            test_size=options.test_size,
            random_state=options.random_state,
            stratify=options.stratify and not regression,
            where=where,
        )
        share = f"the {part} part of a split" if part != "all" else "all"
        return LoadedData(
            x=x[rows],
            y=y[rows],
            layout="image" if options.as_images else "table",
            source=f"scikit-learn's {name}, {share}: {len(rows):,} of {len(x):,} rows",
            classes=() if regression else tuple(str(c) for c in found.target_names),
            features=features,
            index=rows,
        )
