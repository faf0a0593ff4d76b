"""Groups of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.messages import count, suggest

Array = npt.NDArray[Any]


def group_positions(features: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Positions of each group's features, and of the features in no group."""
    if not isinstance(groups, Mapping) or not groups:
        raise ValueError(f"groups are given as a dict of name to list of features, not {groups!r}")
    at = {name: j for j, name in enumerate(features)}
    owner: dict[str, str] = {}
    members: dict[str, list[int]] = {}
    for group, given in groups.items():
        names = [given] if isinstance(given, str) else list(given)
        if not names:
            raise ValueError(f"group {group!r} is empty, expected the features it sums")
        unknown = [str(name) for name in names if name not in at]
        if unknown:
            raise ValueError(f"group {group!r} names what is no feature: {suggest(unknown, features)}")
        for name in names:
            if name in owner:
                raise ValueError(f"feature {name!r} stands in group {owner[name]!r} and again in {group!r}")
            owner[name] = group
        members[group] = [at[name] for name in names]
    left = [j for name, j in at.items() if name not in owner]
    if left and "Other" in members:
        are = "is" if len(left) == 1 else "are"
        raise ValueError(
            f"{count(len(left), 'feature')} {are} in no group and would be summed as 'Other', which is a group: rename "
            f"it, or add them, the first being {features[left[0]]!r}"
        )
    return {**members, "Other": left} if left else members


def by_members(numbers: Array, members: Mapping[str, Sequence[int]]) -> Array:
    """The sum of each group's columns; (..., D) to (..., groups)."""
    return np.stack([numbers[..., list(columns)].sum(axis=-1) for columns in members.values()], axis=-1)
