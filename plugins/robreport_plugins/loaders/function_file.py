"""The ``callable`` loader: a Python function beside the audit file that only predicts."""

from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from robreport import ModelError, ModelHandle, ModelSource, Params
from robreport_plugins.loaders.beside_spec import check_reference, load_callable
from robreport_plugins.loaders.black_box_options import BlackBoxOptions
from robreport_plugins.loaders.wording import one_line

if TYPE_CHECKING:
    from robreport_plugins.loaders.black_box import Array
    from robreport_plugins.loaders.input_form import InputForm


class CallableOptions(BlackBoxOptions):
    """Keys of a ``loader = "callable"`` model, beside name, version, path and sha256."""

    callable: str = Field(
        description="'module:function' of a Python file beside the audit file, called with a "
        "batch (n, *shape)."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Further keyword arguments of the function."
    )

    @field_validator("callable")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        return check_reference(value)

    @field_validator("arguments")
    @classmethod
    def _arguments_are_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        bad = [key for key in value if not re.fullmatch(r"[A-Za-z_]\w*", key)]
        if bad:
            raise ValueError(f"arguments has keys that are no Python names: {bad}")
        if "path" in value:
            raise ValueError("path is given as the model's own path, not among its arguments")
        return value


class CallableLoader:
    """Loads a function of a Python file beside the audit file as a black box."""

    Options: ClassVar[type[Params]] = CallableOptions
    summary: ClassVar[str] = "Python function beside the audit file: predictions only"

    def load(self, source: ModelSource) -> ModelHandle:
        """Return the function as a model that predicts; no gradients, no parameters.

        A declared ``path`` is handed to the function as the keyword argument ``path``.

        Raises
        ------
        ModelError
            There is no such function, it fails, or what it returns is no prediction.
        """
        from robreport_plugins.loaders.black_box import BlackBoxHandle
        from robreport_plugins.loaders.input_form import input_form

        options: CallableOptions = source.options
        where = f"model {source.name!r} ({options.callable})"
        function, origin = load_callable(options.callable, source.base, where)
        more = copy.deepcopy(options.arguments)
        if source.path is not None:
            more["path"] = source.path
        form = input_form(options, source.schema, where)
        handle = BlackBoxHandle(
            name=source.name,
            kind=f"Python function {options.callable} (black box)",
            ask=partial(_call, function, more, form, options, where),
            options=options,
            form=form,
            schema=source.schema,
            examples=source.examples,
        )
        handle.facts = {"function": origin, **handle.facts}
        return handle


def _call(
    function: Callable[..., Any], more: dict[str, Any], form: InputForm, options: CallableOptions,
    where: str, x: Array,
) -> Any:  # fmt: skip
    """Return what the function answers for a copy of these inputs."""
    given = form.frame(x) if options.frame else form.array(x)
    try:
        return function(given, **more)
    except (Exception, SystemExit) as error:  # the author's code may raise anything
        raise ModelError(
            f"{where}: failed with {one_line(error)}{_line(error)} on {len(x):,} inputs of shape "
            f"{tuple(given.shape[1:])}; correct it, or how it is given its inputs."
        ) from error


def _line(error: BaseException) -> str:
    """Return " (nets.py, line 12)": the innermost frame that is not a library's."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [f for f in frames if "site-packages" not in f.filename and f.filename[:1] != "<"]
    # The first frame's folder is that of the audit file.
    beside = [f for f in own if Path(f.filename).parent == Path(own[0].filename).parent]
    if not beside:
        return ""
    return f" ({Path(beside[-1].filename).name}, line {beside[-1].lineno})"
