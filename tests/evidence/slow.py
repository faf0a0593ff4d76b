"""The slow twins of fastlrp/evidence: loops over samples, points and draws. They import nothing of fastlrp."""

from __future__ import annotations

import numpy as np


def sizes_of(units, points):
    """Numbers of deleted units: evenly spaced, rounded up, at most one a unit."""
    points = min(units, points)
    return [-(-units * k // points) for k in range(1, points + 1)]


def area(share, curve):
    """Trapezoids."""
    return sum(
        (b - a) * (one + other) / 2 for a, b, one, other in zip(share, share[1:], curve, curve[1:], strict=False)
    )


def deleted(x, base, units, by):
    """A window with some features, or (step, feature) cells, replaced."""
    x = x.copy()
    for unit in units:
        if by == "feature":
            x[:, unit] = base[:, unit]
        else:
            step, feature = divmod(unit, x.shape[1])
            x[step, feature] = base[step, feature]
    return x


def order_of(R, signed):
    return sorted(range(len(R)), key=lambda unit: -R[unit] if signed else -abs(R[unit]))


def changes(score, x, base, order, sizes, by):
    return [score(x) - score(deleted(x, base, order[:size], by)) for size in sizes]


def faithful(score, X, bases, R, orders, *, by, signed, points):
    """Curves, areas and infidelities of every sample; ``orders`` (draw, sample, unit) are the random ones."""
    found = {name: [] for name in ("most", "random", "least", "infidelity", "infidelity_scaled", "squared_change")}
    curves = {name: [] for name in ("most", "random", "least")}
    sizes = sizes_of(len(R[0]), points)
    share = [0, *(size / len(R[0]) for size in sizes)]
    for k, (x, base, r) in enumerate(zip(X, bases, R, strict=True)):
        most = order_of(r, signed)
        several = {"most": [most], "least": [most[::-1]], "random": [list(draws[k]) for draws in orders]}
        for name, them in several.items():
            lines = [[0, *changes(score, x, base, order, sizes, by)] for order in them]
            lines = np.array(lines if signed else np.abs(lines))
            curves[name].append(lines)
            found[name].append(np.mean([area(share, line) for line in lines]))
        claims = np.array([[sum(r[u] for u in order[:size]) for size in sizes] for order in several["random"]])
        truth = np.array([changes(score, x, base, order, sizes, by) for order in several["random"]])
        beta = (claims * truth).mean() / (claims**2).mean()
        found["infidelity"].append(((claims - truth) ** 2).mean())
        found["infidelity_scaled"].append(((beta * claims - truth) ** 2).mean())
        found["squared_change"].append((truth**2).mean())
    return {k: np.array(v) for k, v in found.items()}, {k: np.mean(v, axis=0) for k, v in curves.items()}, share


def windows(panel, steps):
    """Complete windows of a panel of consecutive months (month, asset), by their row's name."""
    found = {}
    for asset, own in panel.groupby(level="permno"):
        own = own.droplevel("permno").sort_index()
        for end in range(steps, len(own) + 1):
            part = own.iloc[end - steps : end]
            whole = part.index[-1].ordinal - part.index[0].ordinal == steps - 1
            if whole and part.notna().all(axis=None):
                found[part.index[-1], asset] = part.to_numpy()
    return found
