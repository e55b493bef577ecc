"""Sources as the core hands them to loaders, and how a refusal must read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robreport import (
    DataError,
    DataSchema,
    LoadedData,
    ModelError,
    ModelHandle,
    ModelSource,
    SplitSource,
)


@pytest.fixture
def load_model(tmp_path: Path) -> Callable[..., ModelHandle]:
    """``load_model(loader, path, schema=..., trusted=..., **options)``."""

    def load(
        loader: Any,
        path: Path | None,
        *,
        schema: DataSchema | None = None,
        trusted: bool = False,
        base: Path = tmp_path,
        examples: Any = None,
        **options: Any,
    ) -> ModelHandle:
        return loader.load(
            ModelSource(
                name="m",
                path=path,
                base=base,
                options=loader.Options(**options),
                trusted=trusted,
                schema=schema,
                examples=examples,
            )
        )

    return load


@pytest.fixture
def load_data(tmp_path: Path) -> Callable[..., LoadedData]:
    """``load_data(loader, role, task=..., root=..., schema=..., **options)``."""

    def load(
        loader: Any,
        role: str = "test",
        *,
        task: str = "classification",
        root: Path = tmp_path,
        schema: dict[str, Any] | None = None,
        **options: Any,
    ) -> LoadedData:
        return loader.load(
            SplitSource(
                role=role,
                base=root,
                root=root,
                options=loader.Options(**options),
                seed=0,
                task=task,
                declared_schema=schema or {},
            )
        )

    return load


@pytest.fixture
def refused() -> Callable[..., str]:
    """``refused(call, *words)``: the call ends in one clear sentence that has these words."""

    def check(call: Callable[[], Any], *words: str) -> str:
        with pytest.raises((ModelError, DataError)) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text, text
        assert text.endswith((".", "?")), text
        assert len(text) < 700, text
        assert text.startswith(("model 'm'", "data.")), text
        assert str(Path.home()) not in text, text
        for word in words:
            assert word in text, f"{word!r} not in {text!r}"
        return text

    return check
