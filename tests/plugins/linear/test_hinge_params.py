"""What an entry of linear.robust_hinge may say, and how a slip is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from robreport import Eps, Norm, SkipMetric, ThreatModel
from robreport_plugins.linear.params import HingeParams, read_eps
from robreport_plugins.linear.tasks import schedule_of, tasks_of
from robreport_plugins.linear.training import BLOG_REGULAR, BLOG_ROBUST

LINF = ThreatModel(name="pixel", norm=Norm.Linf, eps=(Eps(8 / 255, "8/255"), Eps(0.2, "0.2")))
L2 = ThreatModel(name="Pixel", norm=Norm.L2, eps=(Eps(1.0, "1"),))


@pytest.mark.parametrize(
    ("text", "value"), [("0.1", 0.1), ("8/255", 8 / 255), (" 1e-2 ", 0.01), (".5 / 2", 0.25)]
)
def test_eps_is_a_number_or_a_fraction(text: str, value: float) -> None:
    assert read_eps(text).value == value


@pytest.mark.parametrize(
    "text", ["-0.1", "nan", "inf", "1/0", "x", "", "1e999999999", "9" * 400, "1/2/3", "0x10"]
)
def test_other_eps_are_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="eps must be a number"):
        read_eps(text)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"preset": "blog", "epochs": 3}, "decides epochs"),
        ({"preset": "blog", "eps": [0.1], "lr": 0.1}, "decides eps, lr"),
        ({"preset": "blog", "standardise": True}, "standardise out"),
        ({"preset": "blog", "solver": "optimum"}, "trains by SGD"),
        ({"eps": [0.1, "1/10"]}, "named twice"),
        ({"eps": []}, "at least 1 item"),
        ({"eps": [True]}, "found a bool"),
        ({"target": 0.1}, "give validation"),
        ({"classes": [1, 1]}, "two different classes"),
        ({"classes": [1, 2, 3]}, "at most 2"),
        ({"seeds": [1, 1]}, "seed is named twice"),
        ({"norm": "L0"}, "'L1', 'L2' or 'Linf'"),
        ({"momentum": 1}, "less than 1"),
    ],
)
def test_a_slip_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HingeParams.model_validate(given)


def test_threats_say_norm_and_eps_and_names_become_ids() -> None:
    first, second = tasks_of(HingeParams(), [LINF, L2])
    assert (first.name, first.key, first.norm) == ("pixel", "pixel", Norm.Linf)
    assert (second.name, second.key) == ("Pixel", "pixel-")
    assert [e.text for e in first.trained] == ["0", "8/255", "0.2"]
    assert [e.text for e in first.attacked] == ["8/255", "0.2"]
    assert first.grid[-1] == pytest.approx(1 / 3)
    (own,) = tasks_of(HingeParams(eps=("0.3", "0")), [LINF])
    assert [e.text for e in own.trained] == ["0", "0.3"]
    assert [e.text for e in own.attacked] == ["8/255", "0.2"]


def test_without_threats_the_defaults_are_those_of_the_source() -> None:
    (task,) = tasks_of(HingeParams(), [])
    assert (task.name, task.norm) == ("linf", Norm.Linf)
    assert [e.value for e in task.trained] == [0.0, 0.1, 0.2, 0.3]
    assert task.grid[[0, -1]].tolist() == [0.0, pytest.approx(0.5)]
    assert task.grid.size == 101


def test_what_contradicts_the_threats_is_skipped_with_its_reason() -> None:
    with pytest.raises(SkipMetric, match=r"leave params\.norm out"):
        tasks_of(HingeParams(norm="L2"), [LINF])
    with pytest.raises(SkipMetric, match="threats out"):
        tasks_of(HingeParams(preset="blog"), [LINF], blog=True)


def test_the_preset_is_the_source_schedule_and_else_batches_are_shuffled() -> None:
    blog = HingeParams(preset="blog")
    assert schedule_of(blog, 0.0, 60) == BLOG_REGULAR
    assert schedule_of(blog, 0.1, 60) == BLOG_ROBUST
    own = HingeParams(epochs=4)
    assert schedule_of(own, 0.1, 5000).epochs == 4
    assert schedule_of(own, 0.1, 5000).lr == BLOG_ROBUST.lr
    assert schedule_of(own, 0.1, 5000).shuffle
    assert not schedule_of(HingeParams(shuffle=False), 0.0, 5000).shuffle
    # With another batch, a step on the summed loss would be another step.
    other = schedule_of(HingeParams(batch=10), 0.1, 5000)
    assert (other.batch, other.lr, other.loss) == (10, 0.01, "mean")


def test_few_rows_get_more_steps_than_ten_epochs() -> None:
    for n, epochs in ((12_665, 10), (100_000, 10), (569, 834), (50, 5000)):
        assert schedule_of(HingeParams(), 0.0, n).epochs == epochs
    assert schedule_of(HingeParams(batch=10), 0.1, 569).epochs == 88
    assert schedule_of(HingeParams(epochs=3), 0.1, 50).epochs == 3
    # The summed loss of fewer rows than a batch would make shorter steps.
    few = schedule_of(HingeParams(), 0.1, 50)
    assert (few.lr, few.loss) == (0.01, "mean")


def test_the_preset_may_shuffle() -> None:
    assert schedule_of(HingeParams(preset="blog"), 0.1, 60) == BLOG_ROBUST
    assert not BLOG_ROBUST.shuffle
    shuffled = schedule_of(HingeParams(preset="blog", shuffle=True), 0.1, 60)
    assert shuffled == replace(BLOG_ROBUST, shuffle=True)
