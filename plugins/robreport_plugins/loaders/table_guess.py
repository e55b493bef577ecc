"""What a table is, for a drafted audit: label, task, categories, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robreport import DataError, DataFile, DataGuess
from robreport_plugins.loaders.file_kind import file_kind
from robreport_plugins.loaders.table_sample import (
    Column,
    TableSample,
    sample_parquet,
    sample_table,
)
from robreport_plugins.loaders.wording import did_you_mean, listed

LABELS = (
    "label", "labels", "target", "class", "y", "outcome", "income", "species", "diagnosis",
    "survived", "default", "churn", "response", "result", "quality", "price",
)  # fmt: skip
TEST_SIZE = 0.3
_MOST_CLASSES = 20
_NAMES_OF_ROWS = ("id", "index", "row", "rowid", "row_id", "uuid", "key")


def guess_text(question: DataFile, missing: tuple[str, ...]) -> DataGuess | None:
    """Return what delimited text holds; None when the file is something else.

    Raises
    ------
    DataError
        It has no column of the name that was given for the label, or is damaged.
    """
    if file_kind(question.path) not in ("", "packed"):
        return None
    sample = sample_table(question.path, missing)
    if sample is None or not sample.rows:
        return None
    options: dict[str, Any] = {}
    if sample.delimiter != ",":
        options["delimiter"] = sample.delimiter
    if not sample.header:
        options["header"] = False
    notes: list[str] = []
    if sample.decimal != ".":
        options["decimal"] = sample.decimal
        notes.append("Numbers are written with a comma.")
    if sample.encoding != "utf-8":
        options["encoding"] = sample.encoding
        notes.append(f"It is no UTF-8; {sample.encoding} is a guess, so look at names in it.")
    columns = list(sample.columns)
    if extra := _own_missing(columns):
        options["missing"] = [*missing, *extra]
        notes.append(
            f"{listed(map(repr, extra))} stands among numbers and is taken for a missing value."
        )
    return _described(question, sample, options, notes, extra)


def guess_parquet(question: DataFile, missing: tuple[str, ...]) -> DataGuess | None:
    """Return what a Parquet file holds; None when the file is something else.

    Raises
    ------
    DataError
        It has no column of the name that was given for the label, or is damaged, or pyarrow is
        missing.
    """
    if file_kind(question.path) != "parquet":
        return None
    sample = sample_parquet(question.path, missing)
    if not sample.rows:
        raise DataError(f"{question.path.name}: has no rows.")
    return _described(question, sample, {}, [], ())


def _described(
    question: DataFile,
    sample: TableSample,
    options: dict[str, Any],
    notes: list[str],
    extra: Sequence[str],
) -> DataGuess:
    columns = list(sample.columns)
    label, why = choose_label(question, [column.name for column in columns], sample.header)
    notes.append(why)
    target = columns[label]
    task, said = guess_task(target, sample.rows)
    task, said = (question.task, "") if question.task else (task, said)
    if said:
        notes.append(said)
    schema: dict[str, Any] = {
        "label": target.name if sample.header else label - len(columns)
    }  # fmt: skip
    drop = _left_out(question, columns, label, sample.rows, notes)
    categorical = [
        c.name
        for c in columns
        if c is not target and c.name not in drop and any(t not in extra for t in c.texts)
    ]
    if categorical:
        schema["categorical"] = _written(categorical, sample.header)
        schema["frozen"] = _written(categorical, sample.header)
        notes.append(
            f"Text is taken for categories ({listed(categorical)}). They are frozen, too: a step "
            "from one code to the next is no small change, so attacks leave them alone."
        )
    known = {
        c.name: question.categories[c.name]
        for c in columns
        if c.name in categorical and not c.many and _all_named(c, question)
    }
    if known:
        options["categories"] = {name: list(words) for name, words in known.items()}
        notes.append(f"The codes of {listed(known)} are those that the model was trained on.")
    if drop:
        schema["drop"] = _written(drop, sample.header)
    gaps = [c.name for c in columns if c is not target and c.name not in drop and c.missing]
    if gaps:
        notes.append(f"Values are missing in {listed(gaps)}.")
    splits: dict[str, dict[str, Any]] = {"test": {}}
    if question.alone:
        options["test_size"] = TEST_SIZE
        splits = {"train": {}, "test": {}}
        notes.append(
            f"One file: {TEST_SIZE:.0%} of its rows, drawn with random_state = 0, are the test "
            "part. Members are truly members only if the model was trained on the others; if not, "
            "give the files apart (train and test), or trust nothing that privacy metrics say."
        )
        if task == "classification" and min(target.values.values(), default=0) < 4:
            options["stratify"] = False
            notes.append("A class is too rare to be divided evenly, so the division is plain.")
    count = f"{sample.rows:,}" if sample.complete else f"at least {sample.rows:,}"
    return DataGuess(
        kind=f"table of {count} rows and {len(columns)} columns",
        options=options,
        splits=splits,
        schema=schema,
        task=task,
        notes=tuple(notes),
        certainty=0.8,
    )


def choose_label(question: DataFile, names: Sequence[str], header: bool) -> tuple[int, str]:
    """Return the position of the label's column, and how it was chosen.

    Raises
    ------
    DataError
        No column has the name that was given.
    """
    path = question.path
    if question.label:
        if question.label in names:
            return names.index(question.label), f"The label is {question.label!r}, as you said."
        try:
            place = int(question.label)
        except ValueError:
            place = len(names)
        if -len(names) <= place < len(names):
            return place % len(names), f"The label is column {place}, as you said."
        raise DataError(
            f"{path.name}: --label names the column {question.label!r}, and the file has "
            f"{listed(names)}.{did_you_mean(question.label, names)}"
        )
    rest = [i for i, name in enumerate(names) if name not in question.features]
    if question.features and len(rest) == 1:
        return rest[0], f"The label is {names[rest[0]]!r}, the column that the model does not take."
    among = rest if question.features and rest else list(range(len(names)))
    if header:
        for wanted in LABELS:
            for i in among:
                if names[i].lower() == wanted:
                    return i, f"The label is guessed to be {names[i]!r}, by its name."
    last = among[-1]
    return last, (
        f"The label is guessed to be {names[last]!r}, the last column; say another in schema."
        if header
        else "There is no header; the label is guessed to be the last column."
    )


def guess_task(target: Column, rows: int) -> tuple[str, str]:
    """Return the task that the label's values suggest, and why."""
    if target.texts:
        return "classification", f"The label holds text, {len(target.values)} classes."
    few = len(target.values) <= min(_MOST_CLASSES, max(2, rows // 5))
    if target.whole and few:
        return "classification", (
            f"The label holds {len(target.values)} whole numbers, taken for classes; if they are "
            "amounts, say task = 'regression'."
        )
    return "regression", (
        f"The label holds {'many' if target.whole else 'broken'} numbers, taken for values; if "
        "they are classes, say task = 'classification'."
    )


def _own_missing(columns: Sequence[Column]) -> list[str]:
    """Return words that stand in columns of numbers here and there."""
    found: list[str] = []
    for column in columns:
        texts = sum(column.texts.values())
        if texts and column.numbers > 9 * texts and len(column.texts) <= 3:
            found += [text for text in column.texts if text not in found]
    return found


def _left_out(
    question: DataFile, columns: Sequence[Column], label: int, rows: int, notes: list[str]
) -> list[str]:
    """Return the columns that no model is given: not the model's, or a name for each row."""
    others = [c for i, c in enumerate(columns) if i != label]
    names = {c.name for c in others}
    if question.features and set(question.features) <= names:
        drop = [c.name for c in others if c.name not in question.features]
        if drop:
            notes.append(f"Left out, since the model does not take them: {listed(drop)}.")
        return drop
    if question.width == len(others):
        return []
    drop = [
        c.name
        for c in others
        if rows >= 20
        and (c.many or len(c.values) == rows - c.missing)
        and (sum(c.texts.values()) > c.numbers or c.name.lower() in _NAMES_OF_ROWS)
    ]
    if drop:
        notes.append(f"Left out, since nearly every row has a value of its own: {listed(drop)}.")
    return drop


def _all_named(column: Column, question: DataFile) -> bool:
    """Whether the model knows every category: of another spelling, loading says what to declare."""
    return set(column.values) <= set(question.categories.get(column.name, ()))


def _written(names: Sequence[str], header: bool) -> list[str | int]:
    """Return columns as the schema names them: by position where there is no header."""
    return list(names) if header else [int(name) for name in names]
