"""Programs of 300 drawn networks, recorded as hashes. After code has moved, they prove that kernels get the same
instructions and the same packed weights as before, in seconds and without running one.

``python tests/kernels/golden.py`` records them anew, which is right only where programs were meant to change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastlrp as fl
from fastlrp.kernels.program.inference import Plan, make_plan
from fastlrp.kernels.program.instructions import KINDS, WORDS
from fastlrp.kernels.program.rows import BLOCKS, QUADS
from fastlrp.kernels.program.training import TrainPlan, train_plan
from fastlrp.model.layers import CURVES

FILE = Path(__file__).parents[1] / "data" / "golden-programs.json"
RULES = (None, fl.Arras(), fl.Arras(recurrent=False), fl.Rudder())
GRU_RULES = (None, fl.Arras(), fl.Arras(recurrent=False), fl.GradientXInput(), fl.IntegratedGradients(2))
LAYOUTS = {"blocks": BLOCKS, "quads": QUADS}
NETWORKS = 300


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Multiples of 1/64, which have the same bits with every version of NumPy."""
    return rng.integers(-96, 97, shape) / 64


def _lstm(rng: np.random.Generator, D: int, H: int, sequence: bool, **options: Any) -> fl.LSTM:
    b = _weights(rng, 4 * H) if rng.random() < 0.8 else None
    return fl.LSTM(_weights(rng, D, 4 * H), _weights(rng, H, 4 * H), b, return_sequences=sequence, **options)


def _gru(rng: np.random.Generator, D: int, H: int, sequence: bool, **options: Any) -> fl.GRU:
    after = bool(rng.random() < 0.5)
    b = _weights(rng, *((2, 3 * H) if after else (3 * H,))) if rng.random() < 0.8 else None
    W, U = _weights(rng, D, 3 * H), _weights(rng, H, 3 * H)
    return fl.GRU(W, U, b, after, return_sequences=sequence, **options)


def _activations(rng: np.random.Generator) -> dict[str, str]:
    if rng.random() < 0.6:
        return {}
    names = ("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2")
    return {key: str(rng.choice(names)) for key in ("activation", "recurrent_activation")}


def network(rng: np.random.Generator) -> fl.Network:
    """Any chain that a Network may hold: depths, directions, activations, merges, with or without biases."""
    D = int(rng.integers(1, 9))
    layers: list[Any] = []
    depth, width = int(rng.integers(1, 4)), D
    for level in range(depth):
        sequence = level < depth - 1
        H = int(rng.integers(1, 10))
        if sequence and rng.random() < 0.2:  # a Dense between recurrent layers works step by step
            layers.append(fl.Dense(_weights(rng, width, H), _weights(rng, H), activation="relu"))
            width = H
        if rng.random() < 0.35:
            merge = str(rng.choice(("concat", "sum", "ave")))
            one, two = (_lstm(rng, width, H, sequence, **_activations(rng)) for _ in range(2))
            layers.append(fl.Bidirectional(one, two, merge_mode=merge))
            width = 2 * H if merge == "concat" else H
        else:
            backwards = bool(rng.random() < 0.2)
            layers.append(_lstm(rng, width, H, sequence, go_backwards=backwards, **_activations(rng)))
            width = H
        if rng.random() < 0.3:
            layers.append(fl.Dropout(0.25))
    for _ in range(int(rng.integers(0, 3))):
        M = int(rng.integers(1, 8))
        b = _weights(rng, M) if rng.random() < 0.8 else None
        activation = str(rng.choice(("linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "hard_sigmoid_keras2")))
        layers.append(fl.Dense(_weights(rng, width, M), b, activation=activation))
        width = M
    if rng.random() < 0.15:
        layers.append(fl.Dense(_weights(rng, width, 3), _weights(rng, 3), activation="softmax"))
    return fl.Network(layers)


def gru_network(rng: np.random.Generator) -> fl.Network:
    """A chain with a GRU, or two of them, in each recurrent layer but some."""
    width = int(rng.integers(1, 9))
    layers: list[Any] = []
    depth = int(rng.integers(1, 4))
    for level in range(depth):
        sequence, H = level < depth - 1, int(rng.integers(1, 10))
        cell = _lstm if level and rng.random() < 0.3 else _gru
        if rng.random() < 0.35:
            merge = str(rng.choice(("concat", "sum", "ave")))
            one, two = (cell(rng, width, H, sequence, **_activations(rng)) for _ in range(2))
            layers.append(fl.Bidirectional(one, two, merge_mode=merge))
            width = 2 * H if merge == "concat" else H
        else:
            backwards = bool(rng.random() < 0.2)
            layers.append(cell(rng, width, H, sequence, go_backwards=backwards, **_activations(rng)))
            width = H
    return fl.Network([*layers, fl.Dense(_weights(rng, width, 2), _weights(rng, 2))], steps=3)


def more_network(rng: np.random.Generator) -> fl.Network:
    """A chain with Masking or not, static features or not, or a sequence to the end, and another activation."""
    D, H, M, S = (int(size) for size in rng.integers(1, 9, 4))
    every, cell = bool(rng.random() < 0.3), _gru if rng.random() < 0.5 else _lstm
    masked, S = not every and bool(rng.random() < 0.5), 0 if every or rng.random() < 0.5 else S
    name = str(rng.choice(CURVES))
    layers = [fl.Masking(-1.0)] if masked else []
    layers += [fl.Dense(_weights(rng, D, M), None, "gelu"), cell(rng, M, H, every)]
    layers += [fl.Dense(_weights(rng, H + S, M), _weights(rng, M), name), fl.Dense(_weights(rng, M, 2))]
    return fl.Network(layers, steps=3, static=S)


def _lines(program: np.ndarray) -> Iterator[str]:
    """Instructions by name, with every non-zero word under the first of its names."""
    for record in program:
        words = (*(name for name, *_ in WORDS), "factor")
        given = {name: record[name].item() for name in words if name != "kind" and record[name]}
        yield f"{KINDS[int(record['kind'])]} {json.dumps(given, sort_keys=True)}"


def _digest(*parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode())
    return found.hexdigest()[:16]


def inference_digest(plan: Plan) -> str:
    """Everything that a kernel gets from a plan."""
    programs = [list(_lines(program)) for program in (plan.before, plan.forward, plan.relevance)]
    numbers = {name: int(value) for name, value in vars(plan).items() if isinstance(value, int | np.integer)}
    return _digest(programs, numbers, plan.weights)


def training_digest(plan: TrainPlan) -> str:
    """The same for a training plan."""
    programs = [list(_lines(program)) for program in (plan.forward, plan.backward)]
    numbers = {name: float(value) for name, value in vars(plan).items() if isinstance(value, int | float)}
    return _digest(programs, numbers, plan.index, plan.decays)


def label(rule: Any) -> str:
    """A short name of a rule."""
    return "forward" if rule is None else rule.name + " without recurrence" * (not getattr(rule, "recurrent", True))


def digests() -> Iterator[tuple[str, str]]:
    """Name and hash of every program."""
    for seed in range(NETWORKS):
        rng = np.random.default_rng(seed)
        net, steps = network(rng), int(rng.integers(1, 6))
        for rule in RULES:
            aggregate = ("sequence", True, False)[int(rng.integers(3))] if rule else "sequence"
            reduced, shared = bool(rule) and bool(rng.random() < 0.4), bool(steps > 1 and rng.random() < 0.5)
            layout, dtype = str(rng.choice(list(LAYOUTS))), str(rng.choice(("float32", "float64")))
            options = {"aggregate": aggregate, "reduced": reduced, "shared": shared}
            made = make_plan(net, steps, np.dtype(dtype), rule=rule, layout=LAYOUTS[layout], **options)
            words = [f"{seed:03d}", label(rule), layout, dtype, *(f"{k}={v}" for k, v in options.items())]
            yield " ".join(words), inference_digest(made)
        if getattr(net.layers[-1], "activation", "") != "softmax":  # softmax is not trained
            yield f"{seed:03d} training", training_digest(train_plan(net, steps))
    for seed in range(NETWORKS // 3):
        rng = np.random.default_rng(seed)
        net, dtype = gru_network(rng), str(rng.choice(("float32", "float64")))
        for rule in GRU_RULES:
            reduced, shared = bool(rule) and bool(rng.random() < 0.4), bool(rng.random() < 0.5)
            made = make_plan(net, 3, np.dtype(dtype), rule=rule, reduced=reduced, shared=shared)
            words = ["gru", f"{seed:03d}", label(rule), dtype, f"reduced={reduced}", f"shared={shared}"]
            yield " ".join(words), inference_digest(made)
        yield f"gru {seed:03d} training", training_digest(train_plan(net, 3))
    for seed in range(NETWORKS // 5):
        rng = np.random.default_rng(seed)
        net, dtype = more_network(rng), str(rng.choice(("float32", "float64")))
        for rule in GRU_RULES:
            reduced, shared = bool(rule) and bool(rng.random() < 0.4), bool(rng.random() < 0.5)
            at_step = int(rng.integers(3)) if net.sequence and rule else None
            made = make_plan(net, 3, np.dtype(dtype), rule=rule, reduced=reduced, shared=shared, at_step=at_step)
            words = ["more", f"{seed:03d}", label(rule), dtype, f"reduced={reduced}", f"shared={shared}"]
            yield " ".join([*words, f"at_step={at_step}"]), inference_digest(made)
        if not net.sequence:
            yield f"more {seed:03d} training", training_digest(train_plan(net, 3))


if __name__ == "__main__":
    FILE.write_text(json.dumps(dict(digests()), indent=0) + "\n")
