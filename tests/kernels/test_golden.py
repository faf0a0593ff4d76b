"""Programs are the same as when last recorded: moved code has not changed them."""

import itertools
import json

import golden
import numpy as np
import pytest

import fastlrp as fl
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.instructions import KINDS
from fastlrp.kernels.program.rows import BLOCKS, PANELS
from fastlrp.kernels.program.training import train_plan
from fastlrp.model.plain import arrays_of, with_arrays


def test_programs_and_packed_weights_are_those_recorded():
    recorded, found = json.loads(golden.FILE.read_text()), dict(golden.digests())
    assert list(found) == list(recorded)
    changed = [name for name in recorded if found[name] != recorded[name]]
    assert not changed, f"{len(changed)} of {len(recorded)} programs changed, the first: {changed[:5]}"


def test_one_of_many_grus_has_the_same_plan():
    """Also where two biases add up to one packed weight."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        one = golden.gru_network(rng)
        other = with_arrays(one, [rng.standard_normal(array.shape) for array in arrays_of(one)])
        for net in (one, other):
            plan = make_plan(net, 3, "float32", rule=golden.GRU_RULES[seed % 5], kept=False)
            for name, expected in vars(make_plan(net, 3, "float32", rule=golden.GRU_RULES[seed % 5])).items():
                np.testing.assert_array_equal(getattr(plan, name), expected, strict=True)


@pytest.mark.parametrize("layout", golden.LAYOUTS)
def test_one_of_many_networks_has_the_same_plan(layout):
    """Weights packed by what is known of a shape are those packed on a walk, for all networks of the shape."""
    for seed, dtype in itertools.product(range(40), ("float32", "float64")):
        rng = np.random.default_rng(seed)
        one = golden.network(rng)
        other = with_arrays(one, [rng.standard_normal(array.shape) for array in arrays_of(one)])
        ask = {"rule": golden.RULES[seed % 4], "shared": seed % 3 == 0, "layout": golden.LAYOUTS[layout]}
        for net in (one, other):
            plan = make_plan(net, 3, dtype, kept=False, **ask)
            assert not net._plans
            for name, expected in vars(make_plan(net, 3, dtype, **ask)).items():
                np.testing.assert_array_equal(getattr(plan, name), expected, strict=True)


def test_every_kind_of_instruction_is_among_them():
    """The recorded programs cover all kinds of instruction, so that a change anywhere shows."""
    seen = set()
    for seed in range(100):
        net = golden.network(np.random.default_rng(seed))
        programs = []
        for rule in (*golden.RULES, fl.GradientXInput(), fl.IntegratedGradients(2)):
            for layout in [*golden.LAYOUTS.values(), PANELS] if rule is None or rule.hands_down else [BLOCKS]:
                plan = make_plan(net, 3, np.dtype("float32"), rule=rule, layout=layout, aggregate=True)
                programs += [plan.forward, plan.relevance]
        if getattr(net.layers[-1], "activation", "") != "softmax":
            plan = train_plan(net, 3)
            programs += [plan.forward, plan.backward]
        seen |= {KINDS[int(code)] for program in programs for code in np.unique(program["kind"])}
        programs = []
        for net in (golden.gru_network(np.random.default_rng(seed)), golden.more_network(np.random.default_rng(seed))):
            programs += [make_plan(net, 3, "float32", rule=rule) for rule in golden.GRU_RULES]
            programs += [] if net.sequence else [train_plan(net, 3)]
        parts = [getattr(plan, name) for plan in programs for name in ("forward", "relevance", "backward")
                 if hasattr(plan, name)]  # fmt: skip
        seen |= {KINDS[int(code)] for program in parts for code in np.unique(program["kind"])}
        if seen == set(KINDS):
            break
    assert seen == set(KINDS)
