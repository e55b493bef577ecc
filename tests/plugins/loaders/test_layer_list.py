"""Declarative layer lists: what is understood, and every slip named with its place."""

from __future__ import annotations

import pytest

from robreport_plugins.loaders.layer_list import parse_layers, summarise


def test_arguments_are_made_whole() -> None:
    conv, pool, leaky, flat = parse_layers(
        [["conv", "0", 2, [1, 3]], ["maxpool", 2], ["leaky_relu"], ["flatten", "NHWC"]]
    )
    assert conv.key == "0"
    assert conv.arguments == {"stride": (2, 2), "padding": (1, 3)}
    assert pool.arguments == {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    assert leaky.arguments == {"slope": 0.01}
    assert flat.arguments == {"order": "NHWC"}


def test_a_layer_without_arguments_may_be_its_bare_name() -> None:
    assert parse_layers(["relu"])[0] == parse_layers([["relu"]])[0]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (["relo"], "Did you mean 'relu'"),
        (["softmax"], "declare logits"),
        (["log_softmax"], "declare logits"),
        (["conv"], "key of its weights"),
        (["conv", 2], "key of its weights"),
        (["conv", "0", 0], "stride must be"),
        (["conv", "0", True], "stride must be"),
        (["conv", "0", 1, -1], "padding must be"),
        (["conv", "0", 1, 10**9], "padding must be"),
        (["conv", "0", 1, 0, 7], "1 entries too many"),
        (["relu", 3], "1 entries too many"),
        (["maxpool"], "needs its size"),
        (["maxpool", 2, 2, 2], "at most half"),
        (["dropout", 1.0], "p must be"),
        (["leaky_relu", float("nan")], "slope must be"),
        (["batchnorm", "1", 0], "eps must be"),
        (["flatten", "NCWH"], "order must be"),
        ([], "begins with its name"),
        ([3], "begins with its name"),
        (7, "begins with its name"),
        ({"conv": "0"}, "begins with its name"),
    ],
)
def test_a_slip_is_named_with_its_place(entry: object, words: str) -> None:
    with pytest.raises(ValueError, match=r"architecture\[1\]") as caught:
        parse_layers([["relu"], entry])
    assert words in str(caught.value)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="empty list"):
        parse_layers([])


def test_a_deep_network_is_summarised() -> None:
    layers = parse_layers([["linear", str(i)] for i in range(30)])
    assert summarise(layers).endswith("linear-linear (30 layers)")
    assert summarise(layers[:2]) == "linear-linear"
