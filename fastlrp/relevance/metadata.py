"""What a stored result knows about itself, as JSON: features, steps, rule and parameters, the networks' fingerprint.

The JSON is sealed by a hash of itself, as neither Parquet nor HDF5 has one there: a flipped bit in the name of a
column would otherwise read another column's numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np

import fastlrp
from fastlrp.relevance.arrays import SAMPLE_ARRAYS, RelevanceArrays
from fastlrp.rules import Rule

#: Of the JSON, in a Parquet schema's metadata and among an HDF5 file's attributes.
KEY = "fastlrp"
#: The JSON's own hash, the last of its keys; files of older versions lack it.
_SEAL = "sha256"
#: The newest format: 1, or 2 of results with static features, which older readers would lose.
_FORMAT = 2
_APART = {*SAMPLE_ARRAYS, "index", "rule", "origin"}  # fields with a form of their own


def described(relevance: RelevanceArrays, index: list[dict[str, Any]] | None, **more: Any) -> str:
    """All of a result that is no array with a row a sample, as JSON.

    Raises
    ------
    ValueError
        If JSON cannot hold a value.
    """
    own = {field.name: getattr(relevance, field.name) for field in fields(relevance) if field.name not in _APART}
    whole = {
        "format": 2 if relevance.static_features else 1, "fastlrp": fastlrp.__version__,
        "rule": _of_rule(relevance.rule), "network": relevance.network, **own, "index": index, **more,
    }  # fmt: skip
    try:
        text = json.dumps(whole, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the result cannot be saved: JSON cannot hold what describes it ({error})") from None
    return json.dumps({**json.loads(text), _SEAL: _hash(text)})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def rule_as_json(rule: Rule) -> str:
    """A rule with its parameters, in full."""
    return json.dumps(_of_rule(rule), default=_plain)


def _of_rule(rule: Any) -> dict[str, Any]:
    parameters = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {"class": type(rule).__name__, "name": rule.name, "parameters": parameters}


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them; a missing number is null."""
    if isinstance(value, np.ndarray):
        return {"array": [None if number != number else number for number in value.tolist()]}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def understood(text: str | bytes, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A result's fields and the rest of its JSON, checked.

    Raises
    ------
    ValueError
        If it is not the JSON that :func:`described` writes, or the rule is not known here.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is damaged: its metadata are no JSON ({error})") from None
    if not isinstance(whole, dict) or not _is_int(whole.get("format")):
        raise ValueError(f"{where} is damaged: its metadata are no description of a result")
    if whole["format"] > _FORMAT:
        raise ValueError(
            f"{where} was written by fastlrp {whole.get('fastlrp')}, whose files are newer: upgrade fastlrp"
        )
    seal = whole.pop(_SEAL, None)
    if seal is not None and seal != _hash(json.dumps(whole)):
        raise ValueError(f"{where} is damaged: its metadata have changed since they were written")
    for key, (fits, expected) in _EXPECTED.items():
        if (key not in whole and key not in _LATER) or (key in whole and not fits(whole[key])):
            given = f"{whole[key]!r:.60}" if key in whole else "nothing"
            raise ValueError(f"{where} is damaged: its metadata have {given} as {key!r}, expected {expected}")
    step = whole.get("at_step")  # results saved before there were such networks lack it
    if step is not None and not (_is_int(step) and 0 <= step < whole["steps"]):
        raise ValueError(f"{where} is damaged: its metadata have {step!r:.60} as 'at_step', expected a step or null")
    names = {field.name for field in fields(RelevanceArrays)} - _APART
    own = {key: _value(value) for key, value in whole.items() if key in names}
    return {**own, "rule": _rule(whole["rule"], where), "origin": whole["network"]}, whole


def first_line(error: BaseException) -> str:
    """What a library says of a file that it cannot read."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _value(value: Any) -> Any:
    """A JSON value as a field or a rule's parameter: lists are tuples."""
    if isinstance(value, list):
        return tuple(map(_value, value))
    return np.array(value["array"], np.float64) if isinstance(value, dict) and "array" in value else value


def _rule(given: dict[str, Any], where: str) -> Rule:
    """The rule value; its class is looked up among those that are loaded, and nothing of the file is executed."""
    kinds = {kind.__name__: kind for kind in _subclasses(Rule)}  # type: ignore[type-abstract]
    if given["class"] not in kinds:
        raise ValueError(
            f"{where} was made by the rule {given['class']}, which is unknown here: import its module first"
        )
    parameters = {key: _value(value) for key, value in given["parameters"].items()}
    try:
        return kinds[given["class"]](**parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} names a rule that cannot be made: {error}") from None


def _subclasses(kind: type[Rule]) -> Iterator[type[Rule]]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(name, str) for name in value)


def _is_numbers(value: Any) -> bool:
    numbers = value.get("array") if isinstance(value, dict) else None
    return isinstance(numbers, list) and all(number is None or isinstance(number, float) for number in numbers)


def _is_rule(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class"), str) and isinstance(value.get("parameters"), dict)


def _is_index(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(level, dict) for level in value)


#: What files of older versions lack.
_LATER = {"static_features"}
#: What must be there: whether a value fits, and what is expected in words.
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "steps": (lambda value: _is_int(value) and value > 0, "a positive whole number"),
    "features": (_is_names, "a list of names"),
    "static_features": (lambda value: value == [] or _is_names(value), "a list of names"),
    "outputs": (lambda value: value is None or _is_names(value), "a list of names or null"),
    "target": (lambda value: value is None or _is_int(value) or isinstance(value, str), "a name, a number or null"),
    "reduced": (lambda value: isinstance(value, bool), "true or false"),
    "by_position": (lambda value: isinstance(value, bool), "true or false"),
    "n_members": (lambda value: value is None or (_is_int(value) and value > 1), "a number above 1 or null"),
    "share_spread": (lambda value: value is None or _is_numbers(value), "an array of numbers or null"),
    "network": (lambda value: value is None or isinstance(value, str), "a text or null"),
    "rule": (_is_rule, "a rule's class and parameters"),
    "index": (lambda value: value is None or _is_index(value), "a list of levels or null"),
}
