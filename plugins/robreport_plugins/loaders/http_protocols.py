"""How services are asked in JSON: KServe v1 and v2, MLflow, and plain lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from robreport import ModelError
from robreport_plugins.loaders.input_form import InputForm
from robreport_plugins.loaders.wording import listed, word

Array = npt.NDArray[Any]
Protocol = Literal["plain", "kserve-v1", "kserve-v2", "mlflow"]

_INPUT_FIELD = {"plain": "inputs", "kserve-v1": "instances", "kserve-v2": "input-0"}
_OUTPUT_FIELD = {"plain": "", "kserve-v1": "predictions", "mlflow": "predictions", "kserve-v2": ""}
_DATATYPES = {"float32": "FP32", "float64": "FP64", "uint8": "UINT8"}
_DEEPEST = 20


class JsonProtocol:
    """Makes requests and finds the predictions in answers."""

    def __init__(
        self,
        protocol: Protocol,
        form: InputForm,
        *,
        frame: bool,
        input_field: str | None,
        output_field: str | None,
        request: Mapping[str, Any],
        where: str,
    ) -> None:
        self._protocol = protocol
        self._form = form
        split = protocol == "mlflow" and (frame or (bool(form.columns) and input_field is None))
        self._frame = frame or split
        default = ("dataframe_split" if split else "inputs") if protocol == "mlflow" else (
            _INPUT_FIELD[protocol])  # fmt: skip
        self._input = default if input_field is None else input_field
        self._output = _OUTPUT_FIELD[protocol] if output_field is None else output_field
        self._request = dict(request)
        self._where = where

    def question(self, x: Array) -> Any:
        """Return the request for a batch ``(n, *shape)`` in data space."""
        if self._protocol == "kserve-v2":
            tensors = self._columns(x) if self._frame else [self._tensor(self._form.array(x))]
            return {**self._request, "inputs": tensors}
        if not self._frame:
            return self._wrapped(_without_nan(self._form.array(x)))
        table = self._form.table(x)
        if self._input == "dataframe_split":
            lists = [list(row) for row in zip(*table.values(), strict=True)]
            return self._wrapped({"columns": list(table), "data": lists})
        rows = zip(*table.values(), strict=True)
        return self._wrapped([dict(zip(table, row, strict=True)) for row in rows])

    def _wrapped(self, rows: Any) -> Any:
        return {**self._request, self._input: rows} if self._input else rows

    def _tensor(self, array: Array) -> dict[str, Any]:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ModelError(
                f"{self._where}: an input has a missing value, which a tensor of KServe v2 cannot "
                "hold; fill it, or use another protocol."
            )
        return {
            "name": self._input,
            "shape": list(array.shape),
            "datatype": _DATATYPES[str(array.dtype)],
            "data": array.reshape(-1).tolist(),
        }

    def _columns(self, x: Array) -> list[dict[str, Any]]:
        tensors = []
        for name, column in self._form.table(x).items():
            texts = name in self._form.categories
            if None in column:
                raise ModelError(
                    f"{self._where}: the column {name!r} has a missing value, which a tensor of "
                    "KServe v2 cannot hold; fill it, or use another protocol."
                )
            tensors.append({
                "name": name, "shape": [len(column), 1],
                "datatype": "BYTES" if texts else "FP64", "data": column,
            })  # fmt: skip
        return tensors

    def predictions(self, answer: Any) -> Any:
        """Return the part of an answer that holds the predictions.

        Raises
        ------
        ModelError
            It is not there, or it is not clear which part it is.
        """
        if self._protocol == "kserve-v2":
            return self._output_tensor(answer)
        if not self._output:
            if isinstance(answer, dict):
                raise ModelError(
                    f"{self._where}: the service answers an object with the members "
                    f"{_keys(answer)}; say which holds the predictions with output_field."
                )
            return answer
        return self._walk(answer, self._output.split("."), 0)

    def _walk(self, found: Any, path: list[str], at: int) -> Any:
        """Return what a dotted path leads to; a name is looked up in every item of a list."""
        if at == len(path):
            return found
        step = path[at]
        if isinstance(found, dict) and step in found:
            return self._walk(found[step], path, at + 1)
        if isinstance(found, list):
            if step.isdecimal():
                if int(step) < len(found):
                    return self._walk(found[int(step)], path, at + 1)
            else:
                return [self._walk(item, path, at) for item in found if self._item(item, path)]
        there = _keys(found) if isinstance(found, dict) else _kind(found)
        raise ModelError(
            f"{self._where}: the answer has no {'.'.join(path[: at + 1])!r}; there is {there} "
            "(output_field)."
        )

    def _item(self, item: Any, path: list[str]) -> bool:
        if not isinstance(item, dict):
            raise ModelError(
                f"{self._where}: output_field = {'.'.join(path)!r} leads into a list whose items "
                f"are not all objects (one is {_kind(item)})."
            )
        return True

    def _output_tensor(self, answer: Any) -> Any:
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(o, dict) for o in outputs):
            raise ModelError(
                f"{self._where}: the answer has no list 'outputs', as KServe v2 has; check the "
                "address and the protocol."
            )
        names = [str(tensor.get("name")) for tensor in outputs]
        chosen = [
            t for t, name in zip(outputs, names, strict=True)
            if not self._output or name == self._output
        ]  # fmt: skip
        if len(chosen) != 1:
            raise ModelError(
                f"{self._where}: the answer has the outputs {listed(map(word, names))}; say which "
                "holds the predictions with output_field."
            )
        return self._untensored(chosen[0])

    def _untensored(self, tensor: dict[str, Any]) -> Any:
        data, shape = tensor.get("data"), tensor.get("shape")
        good = isinstance(data, list) and isinstance(shape, list) and 1 <= len(shape) <= 2
        if not good or not all(type(s) is int and s >= 0 for s in shape or ()):
            raise ModelError(
                f"{self._where}: the output tensor needs a shape of one or two sizes and its data "
                "in JSON, not as a binary attachment."
            )
        flat = _flat(data)
        if len(flat) != math.prod(shape or ()):
            raise ModelError(
                f"{self._where}: the output tensor declares the shape {shape} and has "
                f"{len(flat):,} numbers."
            )
        if len(shape or ()) == 1:
            return flat
        rows, width = shape or (0, 0)
        return [flat[i * width : (i + 1) * width] for i in range(rows)]


def _flat(data: Any) -> list[Any]:
    """Return a flat or nested list of a tensor as a flat one."""
    for _ in range(_DEEPEST):
        if not any(isinstance(item, list) for item in data):
            return list(data)
        data = [v for item in data for v in (item if isinstance(item, list) else (item,))]
    return list(data)


def _without_nan(array: Array) -> Any:
    """Return nested lists with None for each NaN, since JSON has no other word for it."""
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return array.tolist()
    said = array.astype(object)
    said[np.isnan(array)] = None
    return said.tolist()


def _keys(found: Mapping[str, Any]) -> str:
    return listed(word(key) for key in found) if found else "nothing"


def _kind(found: Any) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return "null" if found is None else words.get(type(found), "a number")
