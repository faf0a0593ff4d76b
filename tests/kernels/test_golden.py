"""Programs are what they were when last recorded: what moved, moved without changing them."""

import json

import pytest

pytest.importorskip("numba_cuda", reason="a GPU's layout of weights is among what is recorded")


def test_programs_and_packed_weights_are_those_recorded():
    import golden

    recorded, found = json.loads(golden.FILE.read_text()), dict(golden.digests())
    assert list(found) == list(recorded)
    changed = [name for name in recorded if found[name] != recorded[name]]
    assert not changed, f"{len(changed)} of {len(recorded)} programs changed, the first: {changed[:5]}"


def test_every_kind_of_instruction_is_among_them():
    """What is recorded covers the vocabulary, so that a change anywhere shows."""
    import golden
    import numpy as np

    seen = set()
    for seed in range(golden.NETWORKS):
        net = golden.network(np.random.default_rng(seed))
        for rule in golden.RULES:
            for layout in golden.LAYOUTS.values():
                kind = golden.rule_kind(rule)
                plan = golden.make_plan(net, 3, np.dtype("float32"), rule=kind, layout=layout, aggregate=True)
                for program in (plan.forward, plan.relevance):
                    seen |= {golden.KINDS[int(code)] for code in np.unique(program["kind"])}
    assert seen == set(golden.KINDS.values())
