"""Hold what is declared of a network against what is known of the audit's data."""

from __future__ import annotations

from robreport import ModelError, ModelHandle, ModelSource
from robreport_plugins.loaders.input_options import InputOptions


def data_space_shape(source: ModelSource, where: str) -> tuple[int, ...]:
    """Return the shape of one data-space input, declared or the data's.

    Raises
    ------
    ModelError
        Nobody says it, both say and differ, or the declared transformation does not fit it.
    """
    declared: InputOptions = source.options.input
    data = source.schema.input_shape if source.schema is not None else None
    shape = declared.shape or data
    if shape is None:
        raise ModelError(
            f"{where}: input.shape is not declared and no data says it; "
            "add input = { shape = [...] }."
        )
    if data is not None and tuple(shape) != tuple(data):
        raise ModelError(
            f"{where}: input.shape = {list(shape)} is declared, and the data has inputs of shape "
            f"{list(data)}; shapes are those of data space, before input is applied."
        )
    problem = declared.problem_with(tuple(shape))
    if problem:
        raise ModelError(f"{where}: {problem}; correct the model's input.")
    return tuple(shape)


def check_against_data(handle: ModelHandle, source: ModelSource, where: str, outputs: str) -> None:
    """Refuse a network whose outputs cannot be those of the audit's task and classes.

    Raises
    ------
    ModelError
        Values for a classification audit or the reverse, or another number of classes.
    """
    schema = source.schema
    if schema is None:
        return
    value = outputs == "value"
    if value != (schema.task == "regression"):
        raise ModelError(
            f"{where}: outputs = {outputs!r} does not suit a {schema.task} audit; "
            "declare outputs = 'value' for regression, and only then."
        )
    if not value and schema.n_classes and handle.n_outputs != schema.n_classes:
        raise ModelError(
            f"{where}: gives scores for {handle.n_outputs} classes, and the data has "
            f"{schema.n_classes}; audit it on data of its own classes, or name them all in "
            "data.schema.classes if this data lacks some."
        )
