"""What a computation must leave alone: data, model, global state; and what it must report."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from robreport.bundle import Bundle, ModelHandle, Needs
from robreport.metric import Build
from robreport.outcome import Computed, Outcome

Array = npt.NDArray[Any]


def array_state(array: Array) -> str:
    """Return a digest of dtype, shape and bytes."""
    found = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def bundle_state(bundle: Bundle) -> dict[str, str]:
    """Return digests of everything in a bundle that a metric could change, by what it is."""
    found = {}
    for role, split in bundle.splits.items():
        for name, array in (("inputs", split.x), ("labels", split.y), ("index", split.index)):
            if array is not None:
                found[f"the {name} of split {role}"] = array_state(array)
    found["the model's predictions"] = _behaviour(bundle)
    found |= _inside(bundle.model)
    return found


def outcomes_state(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return digests of the arrays of the given outcomes."""
    return {
        f"array {name!r} of outcome {outcome.about.key}": array_state(array)
        for outcome in outcomes
        if isinstance(outcome, Computed)
        for name, array in outcome.result.arrays.items()
    }


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names whose digest changed, appeared or went."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _behaviour(bundle: Bundle) -> str:
    probe = np.random.default_rng(0).uniform(size=(8, *bundle.schema.input_shape))
    return array_state(np.asarray(bundle.model.predict(probe.astype(np.float32))))


def _inside(model: ModelHandle) -> dict[str, str]:
    found = {}
    if model.offers & (Needs.GRADIENTS | Needs.PARAMETERS):
        module = model.torch_module()
        for name, tensor in module.state_dict().items():
            found[f"the model's {name}"] = array_state(tensor.detach().cpu().numpy())
        for name, parameter in module.named_parameters():
            found[f"requires_grad of the model's {name}"] = str(parameter.requires_grad)
        for name, part in module.named_modules():
            where = f"layer {name}" if name else "whole"
            found[f"the training mode of the model's {where}"] = str(part.training)
            hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
            found[f"the hooks on the model's {where}"] = str([len(h) for h in hooks])
    if Needs.TREES in model.offers:
        for number, tree in enumerate(model.trees().trees):
            for name in ("feature", "threshold", "left", "right", "missing_left", "value"):
                found[f"the {name} of the model's tree {number}"] = array_state(getattr(tree, name))
    if Needs.PARAMETERS in model.offers:
        for name, array in (model.initial_parameters() or {}).items():
            found[f"the model's initial {name}"] = array_state(np.asarray(array))
    return found


class GlobalState:
    """Random generators and switches that belong to the process, not to a metric."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {
            "the random state of random": random.getstate(),
            "the random state of numpy.random": _numpy_state(),
            "numpy's error settings": tuple(sorted(np.geterr().items())),
        }
        if (torch := sys.modules.get("torch")) is not None:
            self.values |= {
                "the random state of torch": torch.get_rng_state().numpy().tobytes(),
                "torch's default dtype": torch.get_default_dtype(),
                "torch's number of threads": torch.get_num_threads(),
                "torch's grad mode": torch.is_grad_enabled(),
                "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
            }

    def differing(self, later: GlobalState) -> list[str]:
        """Return what differs later; what a library brought in between does not count."""
        return [k for k, v in self.values.items() if later.values.get(k, v) != v]


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return (name, np.asarray(keys).tobytes(), *rest)


@contextmanager
def seeded_globally(seed: int) -> Iterator[Callable[[], list[str]]]:
    """Seed every global generator inside the block; yield a function that says what changed.

    The state from before comes back afterwards, so that a check leaves its caller's alone.
    """
    torch = sys.modules.get("torch")
    kept = random.getstate(), np.random.get_state(), np.geterr()
    kept_torch = None
    if torch is not None:
        kept_torch = (
            torch.get_rng_state(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        )
        torch.manual_seed(seed)  # whether a metric reads it is what is tested
    random.seed(seed)
    np.random.seed(seed)
    before = GlobalState()
    try:
        yield lambda: before.differing(GlobalState())
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        np.seterr(**kept[2])
        if torch is not None and kept_torch is not None:
            torch.set_rng_state(kept_torch[0])
            torch.set_default_dtype(kept_torch[1])
            torch.set_num_threads(kept_torch[2])
            torch.set_grad_enabled(kept_torch[3])
            torch.use_deterministic_algorithms(kept_torch[4])


class ProgressLog:
    """Collects the calls of ``ctx.progress``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.calls.append((done, total, what))

    def problems(self, *, required: bool) -> list[str]:
        """Return what is wrong with the calls; none at all is wrong where `required`."""
        if not self.calls:
            return ["never calls ctx.progress(done, total, what)"] if required else []
        for done, total, what in self.calls:
            whole = all(
                isinstance(v, int | np.integer) and not isinstance(v, bool) for v in (done, total)
            )
            if not whole or total <= 0 or not 0 <= done <= total:
                return [
                    f"calls ctx.progress({done!r}, {total!r}, …), which is not 0 <= done <= total "
                    "with a total above 0"
                ]
            if not isinstance(what, str) or not what.strip():
                return [f"calls ctx.progress with {what!r} for what it is doing; say it in words"]
        done, total, _ = self.calls[-1]
        if done != total:
            return [f"leaves ctx.progress at {done} of {total}; its last call must reach the total"]
        return []


class ArtifactStore:
    """Stands in for ``ctx.artifact``: builds each key once, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: list[str] = []

    def __call__(self, key: str, build: Build) -> Path:
        place = self.folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        if key not in self.keys:
            place.mkdir(parents=True)
            build(place)
            self.keys.append(key)
        return place
