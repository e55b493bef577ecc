"""SHAPr as plain loops: the game's definition, the recursion, and the formula of the kernel."""

from __future__ import annotations

from math import factorial

import numpy as np


def distances(train: np.ndarray, point: np.ndarray) -> list[float]:
    """Squared distances, terms added in the order of the outputs."""
    found = []
    for row in train:
        total = 0.0
        for a, b in zip(row.tolist(), point.tolist(), strict=True):
            total += (a - b) * (a - b)
        found.append(total)
    return found


def by_definition(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> np.ndarray:
    """Shapley values from all coalitions; records at one distance are nearest equally often."""
    n = len(labels)
    phi = np.zeros(n)
    for point, label in zip(test, test_labels, strict=True):
        d = distances(train, point)
        worth = [0.0] * (1 << n)
        for coalition in range(1, 1 << n):
            members = [i for i in range(n) if coalition >> i & 1]
            least = min(d[i] for i in members)
            nearest = [i for i in members if d[i] == least]
            worth[coalition] = sum(labels[i] == label for i in nearest) / len(nearest)
        for i in range(n):
            for coalition in range(1 << n):
                if coalition >> i & 1:
                    continue
                size = coalition.bit_count()
                weight = factorial(size) * factorial(n - size - 1) / factorial(n)
                phi[i] += weight * (worth[coalition | 1 << i] - worth[coalition])
    return phi * n / len(test_labels)


def by_recursion(order: list[int], labels: np.ndarray, label: int) -> np.ndarray:
    """The published recursion along one order of the records, nearest first."""
    n = len(order)
    hit = [float(labels[i] == label) for i in order]
    values = np.zeros(n)
    values[order[-1]] = hit[-1] / n
    for rank in range(n - 1, 0, -1):
        values[order[rank - 1]] = values[order[rank]] + (hit[rank - 1] - hit[rank]) / rank
    return values


def by_groups(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> np.ndarray:
    """The closed form per group of ties, one record and one farther group at a time."""
    n = len(labels)
    phi = np.zeros(n)
    for point, label in zip(test, test_labels, strict=True):
        d = distances(train, point)
        groups = []
        rank = 1
        for value in sorted(set(d)):
            members = [i for i in range(n) if d[i] == value]
            hits = sum(labels[i] == label for i in members)
            groups.append((rank, rank + len(members) - 1, members, hits))
            rank += len(members)
        for at, (a, b, members, c) in enumerate(groups):
            g = len(members)
            h = sum(1 / r for r in range(a, b + 1)) / g
            later = 0.0
            for a2, b2, members2, c2 in groups[at + 1 :]:
                later += c2 / len(members2) * (1 / (a2 - 1) - 1 / b2)
            for i in members:
                m = float(labels[i] == label)
                middle = (c - m) / (g - 1) * (h - 1 / b) if g > 1 else 0.0
                phi[i] += m * h - middle - later
    return phi * n / len(test_labels)
