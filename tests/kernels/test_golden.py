"""Programs are the same as when last recorded: moved code has not changed them."""

import json

import golden
import numpy as np

import fastlrp as fl
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.instructions import KINDS
from fastlrp.kernels.program.rows import BLOCKS
from fastlrp.kernels.program.training import train_plan


def test_programs_and_packed_weights_are_those_recorded():
    recorded, found = json.loads(golden.FILE.read_text()), dict(golden.digests())
    assert list(found) == list(recorded)
    changed = [name for name in recorded if found[name] != recorded[name]]
    assert not changed, f"{len(changed)} of {len(recorded)} programs changed, the first: {changed[:5]}"


def test_every_kind_of_instruction_is_among_them():
    """The recorded programs cover all kinds of instruction, so that a change anywhere shows."""
    seen = set()
    for seed in range(100):
        net = golden.network(np.random.default_rng(seed))
        programs = []
        for rule in (*golden.RULES, fl.GradientXInput(), fl.IntegratedGradients(2)):
            for layout in golden.LAYOUTS.values() if rule is None or rule.hands_down else [BLOCKS]:
                plan = make_plan(net, 3, np.dtype("float32"), rule=rule, layout=layout, aggregate=True)
                programs += [plan.forward, plan.relevance]
        if getattr(net.layers[-1], "activation", "") != "softmax":
            plan = train_plan(net, 3)
            programs += [plan.forward, plan.backward]
        seen |= {KINDS[int(code)] for program in programs for code in np.unique(program["kind"])}
    assert seen == set(KINDS)
