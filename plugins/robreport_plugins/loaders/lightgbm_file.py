"""Read and check a LightGBM model file before the library sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robreport import ModelError, Tree
from robreport_plugins.loaders.boosted_categories import Categories, category_words
from robreport_plugins.loaders.bounded import read_all
from robreport_plugins.loaders.lightgbm_tree import linear_tree, plain_tree
from robreport_plugins.loaders.regular_file import beginning
from robreport_plugins.loaders.wording import one_line

LARGEST = 512 * 2**20
_MOST_FEATURES = 1 << 24
_MOST_CLASSES = 1 << 16
_HEADER = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx")
# Where trees stand in the file: LightGBM would go there unseen, and without it reads in order.
_DROPPED = "tree_sizes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LightgbmFile:
    """What a model file says, checked.

    Attributes
    ----------
    text : str
        The header and trees that were checked, to be given to the library; nothing else.
    objective : tuple of str
        Its words, such as ``("binary", "sigmoid:1")``.
    groups, n_features : int
    names : tuple of str
        Of the features; empty where they are just numbered.
    categorical : tuple of int
    categories : mapping of int to tuple of str
        The names of features' categories in the order of their codes, where a data frame had them.
    trees : tuple of Tree
        Empty when some are linear.
    rounds : int
    averaged : bool
        Whether a row's scores are means over rounds.
    parameters : mapping of str to str
        The settings of its training; empty where the file keeps none.
    version : str
    """

    text: str
    objective: tuple[str, ...]
    groups: int
    n_features: int
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    categories: Categories
    trees: tuple[Tree, ...]
    rounds: int
    averaged: bool
    parameters: dict[str, str]
    version: str


class _Faulty(ValueError):
    """What is wrong with the file, as the clause of a sentence."""


def read_lightgbm(path: Path, where: str) -> LightgbmFile:
    """Return what the file holds, every tree's nodes checked.

    Raises
    ------
    ModelError
        It is no text model of LightGBM, damaged, or describes trees that cannot be.
    """
    head, size = beginning(path, where, ModelError)
    if size > LARGEST:
        raise ModelError(f"{where}: has {size:,} bytes, and {LARGEST:,} are the most.")
    if head.split(b"\n", 1)[0].strip() != b"tree":
        raise ModelError(
            f"{where}: is no LightGBM model in text; save it with booster.save_model('model.txt')."
        )
    with path.open("rb") as stream:
        data = bytes(read_all(stream, where, LARGEST))
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ModelError(f"{where}: is no UTF-8 text, so no LightGBM model.") from None
    return checked_text(text, where)


def checked_text(text: str, where: str) -> LightgbmFile:
    """Return what a model's text says.

    Raises
    ------
    ModelError
        As `read_lightgbm` does.
    """
    try:
        return _checked(text)
    except _Faulty as fault:
        raise ModelError(f"{where}: {fault}.") from None
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise ModelError(
            f"{where}: is a damaged or truncated LightGBM model ({one_line(error)}); save it again."
        ) from None


def _checked(text: str) -> LightgbmFile:
    body, mark, rest = text.partition("\nend of trees\n")
    if not mark:
        raise _Faulty("is truncated: its trees have no end; save it again")
    if "\0" in text:
        raise _Faulty("holds zero bytes, which no text model does; save it again")
    head, *blocks = body.split("\nTree=")
    keys, flags = _keys(head.split("\n")[1:], "the header")
    for key in _HEADER:
        if key not in keys:
            raise _Faulty(f"lacks {key} in its header; save it again")
    features = _whole(keys["max_feature_idx"], 0, _MOST_FEATURES, "features") + 1
    groups = _whole(keys["num_tree_per_iteration"], 1, _MOST_CLASSES, "trees a round")
    if _whole(keys["num_class"], 1, _MOST_CLASSES, "classes") != groups:
        raise _Faulty(f"has {keys['num_class']} classes and {groups} trees a round")
    names, infos = keys.get("feature_names", "").split(), keys.get("feature_infos", "").split()
    if len(names) != features or len(infos) != features:
        raise _Faulty(f"names {len(names)} features and describes {len(infos)}, of {features}")
    if not blocks or not blocks[0].strip():
        raise _Faulty("has no trees, so there is nothing to audit; train it first")
    if len(blocks) % groups:
        raise _Faulty(f"has {len(blocks)} trees, and {groups} belong to each round")
    trees = [_tree(number, block, features, groups) for number, block in enumerate(blocks)]
    plain = tuple(tree for tree in trees if tree is not None)
    kept = {key: value for key, value in keys.items() if key != _DROPPED}
    lines = ["tree", *(f"{key}={value}" for key, value in kept.items()), *flags, ""]
    numbered = all(name == f"Column_{j}" for j, name in enumerate(names))
    return LightgbmFile(
        text="\n".join(lines) + "\n" + "".join(f"Tree={b.strip()}\n\n\n" for b in blocks)
        + "end of trees\n",
        objective=tuple(keys.get("objective", "").split()),
        groups=groups,
        n_features=features,
        names=() if numbered else tuple(names),
        categorical=tuple(j for j, info in enumerate(infos) if info[0] not in "[n"),
        categories=_names_of_categories(rest, infos),
        trees=plain if len(plain) == len(trees) else (),
        rounds=len(trees) // groups,
        averaged="average_output" in flags,
        parameters=_parameters(rest),
        version=keys["version"][:20],
    )  # fmt: skip


def _names_of_categories(rest: str, infos: list[str]) -> Categories:
    """Return the categories that a data frame had, which stand behind the settings as JSON.

    They are those of its categorical columns in their order; one that no tree could use is
    described as any other useless column. Where it is not clear which are meant, none are named.
    """
    _, mark, line = rest.rpartition("\npandas_categorical:")
    if not mark or not line.strip():
        return {}
    try:
        named = [category_words(values) for values in _lists(json.loads(line))]
    except (ValueError, TypeError, RecursionError):
        raise _Faulty("ends in names of categories that cannot be read; save it again") from None
    used = [j for j, info in enumerate(infos) if info[0] not in "[n"]
    possible = [j for j, info in enumerate(infos) if info[0] != "["]
    for features in (used, possible):
        if len(features) == len(named):
            return dict(zip(features, named, strict=True))
    return {}


def _lists(found: Any) -> list[list[Any]]:
    lists = [] if found is None else found
    if not isinstance(lists, list) or not all(isinstance(item, list) for item in lists):
        raise ValueError("no list of lists")
    return lists


def _keys(lines: list[str], what: str) -> tuple[dict[str, str], list[str]]:
    """Return the keys with their values, and the words without one."""
    keys: dict[str, str] = {}
    flags: list[str] = []
    for line in filter(None, (line.strip() for line in lines)):
        key, mark, value = line.partition("=")
        if not mark:
            flags.append(line)
        elif key in keys:
            raise _Faulty(f"repeats {key[:40]!r} in {what}; the file is damaged or forged")
        else:
            keys[key] = value
    if any(flag != "average_output" for flag in flags):
        raise _Faulty(f"has a line {flags[0][:40]!r} in {what}, which is not known")
    return keys, flags


def _whole(word: str, least: int, most: int, what: str) -> int:
    number = int(word)
    if not least <= number <= most:
        raise _Faulty(f"says {number:,} for its number of {what}")
    return number


def _tree(number: int, block: str, features: int, groups: int) -> Tree | None:
    """Return a tree; None for one with linear leaves, which is checked all the same."""
    first, *lines = block.split("\n")
    try:
        if int(first) != number:
            raise ValueError(f"is numbered {first[:20]}")
        keys, flags = _keys(lines, f"tree {number}")
        if flags:
            raise ValueError("has a line without a value")
        tree = plain_tree(keys, features, number % groups)
        if keys.get("is_linear", "0").strip() != "0":
            linear_tree(keys, features)
            return None
        return tree
    except _Faulty:
        raise
    except (ValueError, KeyError, OverflowError) as error:
        what: Any = f"lacks {error}" if isinstance(error, KeyError) else error
        raise _Faulty(f"has a tree {number} that {what}; the file is damaged or forged") from None


def _parameters(rest: str) -> dict[str, str]:
    """Return the settings that stand behind the trees as ``[name: value]``."""
    found = {}
    _, _, section = rest.partition("\nparameters:\n")
    for line in section.partition("end of parameters")[0].split("\n"):
        name, mark, value = line.strip().removeprefix("[").removesuffix("]").partition(":")
        if mark:
            found[name.strip()] = value.strip()
    return found
