"""Networks and training functions written in Python beside the audit file."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from robreport import ModelError
from robreport_plugins.loaders.beside_spec import load_callable
from robreport_plugins.loaders.data_space import DataSpaceNetwork, Outputs
from robreport_plugins.loaders.network import Array, Trainer
from robreport_plugins.loaders.weights import State
from robreport_plugins.loaders.wording import did_you_mean, listed, one_line


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global generators, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def callable_network(
    reference: str, arguments: Mapping[str, Any], base: Path, state: State, where: str
) -> tuple[nn.Module, str]:
    """Return the network that ``module:callable`` builds, with these weights, and its origin.

    Raises
    ------
    ModelError
        The callable fails or returns no module, or a weight is missing, left over or of
        another shape.
    """
    build, origin = load_callable(reference, base, where)
    try:
        with seeded(0):
            network = build(**copy.deepcopy(dict(arguments)))
    except (Exception, SystemExit) as error:  # the author's code may raise anything
        raise ModelError(
            f"{where}: architecture {reference!r} failed with {one_line(error)}; "
            "correct it or its arguments."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{where}: architecture {reference!r} returned a {type(network).__name__}; "
            "it must return a torch.nn.Module."
        )
    _fill(network, state, reference, where)
    return network, origin


def _fill(network: nn.Module, state: State, reference: str, where: str) -> None:
    """Load the weights, all of them and nothing else."""
    own = network.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    left = [k for k in state if k not in own]
    if missing:
        raise ModelError(
            f"{where}: {reference!r} needs the weights {listed(map(repr, missing))}, and the file "
            f"has {listed(map(repr, left)) if left else 'none left'}."
            f"{did_you_mean(missing[0], left)}"
        )
    if left:
        raise ModelError(
            f"{where}: the weights {listed(map(repr, left))} belong to no layer of {reference!r}; "
            "is it the right architecture, with the right arguments?"
        )
    for key, expected in own.items():
        if key in state and not is_lazy(expected) and expected.shape != state[key].shape:
            raise ModelError(
                f"{where}: weight {key!r} has shape {tuple(state[key].shape)}, and {reference!r} "
                f"has {tuple(expected.shape)} there; check the architecture's arguments."
            )
    try:
        network.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{where}: the weights do not go into {reference!r} ({one_line(error)})."
        ) from None


def trainer_from(reference: str, base: Path, outputs: Outputs, where: str) -> tuple[Trainer, str]:
    """Return a function that trains a network anew through ``module:callable``, and its origin.

    The author's function is called as ``train(x, y, seed)`` with x float32 ``(n, *shape)`` in
    **data space**, y int64 classes (or float64 values) and an int; it returns the network, that
    is, what comes *after* the declared `input` transformation. A function with a parameter
    named ``transform`` is also given that transformation as a module, to be applied to x in
    training: with ``normalize``, ``pad`` or ``layout`` declared it must be, there or by hand.
    Every global generator is seeded before the call.

    Raises
    ------
    ModelError
        No such function; when called, it fails or returns another architecture.
    """
    train, origin = load_callable(reference, base, where)
    try:
        names = inspect.signature(train).parameters
    except (TypeError, ValueError):
        names = {}  # type: ignore[assignment]
    wants_transform = "transform" in names

    def run(x: Array, y: Array, seed: int, like: DataSpaceNetwork) -> DataSpaceNetwork:
        space = copy.deepcopy(like.input)
        more = {"transform": copy.deepcopy(space)} if wants_transform else {}
        inputs = np.array(x, dtype=np.float32, order="C")
        labels = np.array(y, dtype=np.float64 if outputs == "value" else np.int64)
        try:
            # Training needs gradients even where the caller has switched them off.
            with seeded(int(seed)), torch.inference_mode(False), torch.enable_grad():
                network = train(inputs, labels, int(seed), **more)
        except (Exception, SystemExit) as error:  # as for the architecture
            raise ModelError(
                f"{where}: train {reference!r} failed with {one_line(error)}; correct it."
            ) from error
        if not isinstance(network, nn.Module):
            raise ModelError(
                f"{where}: train {reference!r} returned a {type(network).__name__}; "
                "it must return the trained torch.nn.Module."
            )
        had = sorted(tuple(p.shape) for p in like.network.parameters())
        got = sorted(tuple(p.shape) for p in network.parameters())
        if had != got:
            raise ModelError(
                f"{where}: train {reference!r} returned another architecture than the audited "
                f"one ({sum(map(np.prod, got)):,} parameters for {sum(map(np.prod, had)):,})."
            )
        return DataSpaceNetwork(space, network, outputs)

    return run, origin
