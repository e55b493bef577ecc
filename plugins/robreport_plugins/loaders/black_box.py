"""A model that is only asked for its predictions, as a `ModelHandle`."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport import DataSchema, ModelError, ModelHandle, Needs, NotOffered
from robreport_plugins.loaders.answer_form import AnswerForm, answer_form, found_out, plain_array
from robreport_plugins.loaders.black_box_options import BlackBoxOptions
from robreport_plugins.loaders.input_form import InputForm

Array = npt.NDArray[Any]
Ask = Callable[[Array], Any]

ROWS_TWICE = 4
"""Rows that are asked twice when a model is loaded."""

_ROUNDING = 1e-5


class AnswerMemory:
    """Answers that were given before, by input; the oldest are forgotten first."""

    def __init__(self, most_bytes: int = 64 * 2**20) -> None:
        self._most = most_bytes
        self._used = 0
        self._kept: OrderedDict[bytes, Array] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keys(self, x: Array) -> list[bytes]:
        """Return one key per row of inputs."""
        head = f"{x.dtype.str}{x.shape[1:]}".encode()
        return [hashlib.blake2b(head + row.tobytes(), digest_size=24).digest() for row in x]

    def get(self, key: bytes) -> Array | None:
        """Return the answer of that key, or None."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, answer: Array) -> None:
        """Keep a copy of one row of answers, if it is not kept yet."""
        if key in self._kept:
            return
        kept = np.array(answer)
        self._kept[key] = kept
        self._used += _size(kept)
        while self._used > self._most:
            _, gone = self._kept.popitem(last=False)
            self._used -= _size(gone)


def _size(answer: Array) -> int:
    # Key, array header and the dictionary's own room.
    return int(answer.nbytes) + 300


class BlackBoxHandle(ModelHandle):
    """Predictions of a function or a service, each answer checked before it is used."""

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        ask: Ask,
        options: BlackBoxOptions,
        form: InputForm,
        schema: DataSchema | None,
        examples: Array | None = None,
        memory: AnswerMemory | None = None,
    ) -> None:
        """`ask` maps a batch in data space to raw answers; `examples` are rows to try it on.

        Raises
        ------
        ModelError
            What it answers is no prediction, does not suit the data, or must be declared.
        """
        super().__init__()
        self.name = name
        self.kind = kind
        self.input_shape = form.shape
        self._where = form.where
        self._ask = ask
        self._batch = options.batch
        self._memory: AnswerMemory | None = None
        tried = None if examples is None else np.array(examples[: min(ROWS_TWICE, options.batch)])
        self._answers = self._understand(options, schema, tried)
        self.n_outputs = self._answers.n_outputs
        returns = self._answers.returns
        self.offers = Needs.REGRESSION if returns == "values" else Needs.CLASSIFICATION
        if returns in ("probabilities", "logits"):
            self.offers |= Needs.PROBABILITIES
        if returns == "logits":
            self.offers |= Needs.LOGITS
        self.facts = {
            "returns": returns,
            "input transformation": "a data frame" if options.frame else options.input.words(),
            "inputs per call": options.batch,
            **({} if self._repeatable is None else {"same answer twice": self._repeatable}),
        }
        if self.repeatable:
            self._memory = memory

    @property
    def repeatable(self) -> bool:
        """Whether the same inputs, asked twice, gave exactly the same answers."""
        return self._repeatable == "yes"

    def _understand(
        self, options: BlackBoxOptions, schema: DataSchema | None, tried: Array | None
    ) -> AnswerForm:
        """Return what the answers mean, by the declaration and by asking the same rows twice."""
        self._repeatable: str | None = None
        own = options.classes or (tuple(schema.classes) if schema is not None else ())
        if tried is None or not len(tried):
            if options.returns is None:
                raise ModelError(
                    f"{self._where}: there is no data to try it on; declare "
                    "returns = 'probabilities', 'logits', 'labels' or 'values'."
                )
            return answer_form(options, options.returns, None, schema, self._where)
        raw = self._ask(tried)
        task = schema.task if schema is not None else ""
        returns = options.returns or found_out(raw, len(tried), own, task, self._where)
        width = None
        if returns in ("probabilities", "logits"):
            found = plain_array(raw, len(tried), own, self._where)
            width = 1 if found.ndim == 1 else int(found.shape[1])
        form = answer_form(options, returns, width, schema, self._where)
        once = form.read(raw, len(tried))
        twice = form.read(self._ask(tried), len(tried))
        if np.array_equal(once, twice):
            self._repeatable = "yes"
        elif returns != "labels" and np.allclose(once, twice, rtol=_ROUNDING, atol=_ROUNDING):
            self._repeatable = "up to rounding"
        else:
            self._repeatable = "no: metrics see one draw of a random model"
        return form

    def answers_digest(self, examples: Array) -> str:
        """Return the SHA-256 of the answers to these rows: what is known of a model that has
        no file.
        """
        answers = self._rows(np.asarray(examples))
        head = f"{self._answers.returns} {answers.dtype.str} {answers.shape} ".encode()
        return hashlib.sha256(head + np.ascontiguousarray(answers).tobytes()).hexdigest()

    def predict(self, x: Array) -> Array:
        """Return class indices ``(n,)`` int64, the lowest among equals; or values, float64.

        Raises
        ------
        ModelError
            The model fails, or what it answers is no prediction.
        """
        found = self._rows(x)
        if found.ndim == 1:
            return found
        return np.asarray(found.argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Array) -> Array:
        """Return class probabilities ``(n, k)`` float64; the softmax of declared logits.

        Raises
        ------
        ModelError
            As for `predict`.
        NotOffered
            It returns labels or values.
        """
        if Needs.PROBABILITIES not in self.offers:
            raise NotOffered(f"{self.name}: predict_proba")
        found = self._rows(x)
        if self._answers.returns == "probabilities":
            return found
        raised = np.exp(found - found.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def logits(self, x: Array) -> Array:
        """Return pre-softmax scores ``(n, k)``, where they are what it returns."""
        if Needs.LOGITS not in self.offers:
            raise NotOffered(f"{self.name}: logits")
        return self._rows(x)

    def _rows(self, x: Array) -> Array:
        """Return checked answers for all rows: a batch at a time, those known not asked again."""
        x = np.asarray(x)
        shape = self.input_shape
        if shape is not None and tuple(x.shape[1:]) != tuple(shape):
            raise ModelError(
                f"{self._where}: takes inputs of shape {tuple(shape)}, and was given "
                f"{tuple(x.shape[1:])}."
            )
        width = self._answers.columns
        kind = np.int64 if self._answers.returns == "labels" else np.float64
        found = np.zeros((len(x), width) if width else (len(x),), dtype=kind)
        if self._memory is None:
            for start in range(0, len(x), self._batch):
                part = x[start : start + self._batch]
                found[start : start + len(part)] = self._answers.read(self._ask(part), len(part))
            return found
        for rows, keys in self._unknown(x, found, self._memory):
            given = self._answers.read(self._ask(x[rows]), len(rows))
            for row, key, answer in zip(rows, keys, given, strict=True):
                found[row] = answer
                self._memory.put(key, answer)
        return found

    def _unknown(
        self, x: Array, found: Array, memory: AnswerMemory
    ) -> Iterator[tuple[list[int], list[bytes]]]:
        """Yield batches of rows that must be asked; answers that are remembered are filled in."""
        rows: list[int] = []
        keys: list[bytes] = []
        for start in range(0, len(x), self._batch):
            for i, key in enumerate(memory.keys(x[start : start + self._batch])):
                answer = memory.get(key)
                if answer is not None:
                    found[start + i] = answer
                    continue
                rows.append(start + i)
                keys.append(key)
                if len(rows) == self._batch:
                    yield rows, keys
                    rows, keys = [], []
        if rows:
            yield rows, keys
