"""A bundle that offers exactly what a metric declared: anything else is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from robreport.bundle import Bundle, ModelHandle, Needs, NotOffered

if TYPE_CHECKING:
    import torch

    from robreport.trees import TreeEnsemble

Array = npt.NDArray[Any]


class GuardedModel(ModelHandle):
    """A model seen through its declared needs; `used` collects those that were asked for."""

    def __init__(self, model: ModelHandle, allowed: Needs, *, predicts: bool = True) -> None:
        super().__init__()
        self.__model = model
        self.__predicts = predicts
        self.used = Needs.NONE
        self.name = model.name
        self.kind = model.kind
        self.offers = model.offers & allowed
        self.input_shape = model.input_shape
        self.n_outputs = model.n_outputs
        self.facts = model.facts

    def __ask(self, what: str, needs: Needs) -> None:
        if not needs & self.offers:
            words = " or ".join(word.upper() for word in needs.words)
            raise NotOffered(f"{self.name}: {what}, which takes Needs.{words}")
        self.used |= needs & self.offers

    def predict(self, x: Array) -> Array:
        if not self.__predicts:
            raise NotOffered(f"{self.name}: predict, which a metric of scope 'data' does not have")
        return self.__model.predict(x)

    def predict_proba(self, x: Array) -> Array:
        self.__ask("predict_proba", Needs.PROBABILITIES)
        return self.__model.predict_proba(x)

    def logits(self, x: Array) -> Array:
        self.__ask("logits", Needs.LOGITS)
        return self.__model.logits(x)

    def torch_module(self) -> torch.nn.Module:
        self.__ask("torch_module", Needs.GRADIENTS | Needs.PARAMETERS)
        return self.__model.torch_module()

    def refit(self, x: Array, y: Array, seed: int) -> ModelHandle:
        self.__ask("refit", Needs.REFIT)
        # the new model offers what the old one was declared to offer, and is guarded alike
        return GuardedModel(self.__model.refit(x, y, seed), self.offers)

    def trees(self) -> TreeEnsemble:
        self.__ask("trees", Needs.TREES)
        return self.__model.trees()

    def initial_parameters(self) -> Mapping[str, Array] | None:
        self.__ask("initial_parameters", Needs.PARAMETERS)
        return self.__model.initial_parameters()


def guarded(
    bundle: Bundle, needs: Needs, splits: Iterable[str] | None = None, *, scope: str = "model"
) -> Bundle:
    """Return `bundle` narrowed to `needs` and to the roles that match `splits`.

    Parameters
    ----------
    bundle : Bundle
    needs : Needs
        Without LABELS the splits have no labels either.
    splits : iterable of str or None
        As a metric declares them: ``test``, ``train?``, ``ood.*``; None keeps all.
    scope : "model" or "data"
        A metric of scope ``data`` gets a model that does not even predict.
    """
    patterns = None if splits is None else [role.rstrip("?") for role in splits]
    kept = {
        role: split if Needs.LABELS in needs else replace(split, y=None)
        for role, split in bundle.splits.items()
        if patterns is None or any(fnmatchcase(role, pattern) for pattern in patterns)
    }
    allowed = needs if scope == "model" else Needs.NONE
    return Bundle(
        model=GuardedModel(bundle.model, allowed, predicts=scope == "model"),
        splits=kept,
        schema=bundle.schema,
        offers=bundle.offers & needs,
        digests={k: v for k, v in bundle.digests.items() if k == "model" or k in kept},
    )
