"""What travels everywhere, handed on as one pointer in place of a hundred numbers.

Numba hands a tuple on as all the numbers of all its arrays, one after the other, with every call.
Compiling that took most of its time. Uncompiled, the tuples themselves serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numba import types
from numba.experimental import structref
from numba.extending import overload

from robreport_plugins.methods._kernels.structures import Case, State

# to type checkers a function that never returns
_new: Any = structref.new


@structref.register
class _Reference(types.StructRef):
    """A structure of the fields of a tuple."""

    def preprocess_fields(self, fields: Any) -> Any:
        return tuple((name, types.unliteral(kind)) for name, kind in fields)  # type: ignore[no-untyped-call]


def _reference(fields: Iterable[tuple[str, types.Type]]) -> _Reference:
    return _Reference(list(fields))  # type: ignore[no-untyped-call]


def case_of(fields: Case) -> Case:
    """Return the case, by reference."""
    return fields


def state_at(states: State, number: int) -> State:
    """Return one of several states, by reference."""
    return State(*(part[number] for part in states))


@overload(case_of)
def _case_of(fields: Any) -> Callable[..., Any]:
    kind = _reference(zip(fields.fields, fields.types, strict=True))

    def make(fields: Any) -> Any:
        case = _new(kind)
        case.nodes, case.table, case.value = fields.nodes, fields.table, fields.value
        case.trees, case.cells, case.border_tree = fields.trees, fields.cells, fields.border_tree
        case.outputs, case.order = fields.outputs, fields.order
        case.single, case.binary, case.doubt = fields.single, fields.binary, fields.doubt
        case.coordinate, case.spots, case.features = (
            fields.coordinate, fields.spots, fields.features,
        )  # fmt: skip
        case.group_start, case.group_member = fields.group_start, fields.group_member
        case.goal, case.norm, case.steps = fields.goal, fields.norm, fields.steps
        return case

    return make


@overload(state_at)
def _state_at(states: Any, number: Any) -> Callable[..., Any]:
    parts = [types.Array(part.dtype, part.ndim - 1, part.layout) for part in states.types]
    kind = _reference(zip(states.fields, parts, strict=True))

    def make(states: Any, number: Any) -> Any:
        state = _new(kind)
        state.cell, state.leaf, state.mark = (
            states.cell[number], states.leaf[number], states.mark[number],
        )  # fmt: skip
        state.total, state.exact = states.total[number], states.exact[number]
        state.coordinates, state.progress = states.coordinates[number], states.progress[number]
        return state

    return make
