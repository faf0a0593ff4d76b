"""Programs match the mathematics: a plain interpreter of their instructions against the slow reference."""

import ast
import subprocess
import sys
from pathlib import Path

import golden
import interpreter
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from strategies import (
    bidirectional,
    cases,
    dense,
    gradient_batch,
    gradient_rule,
    gru,
    has_gru,
    lstm,
    network,
    plain,
    reference_batch,
    rule_value,
)

import fastlrp as fl
from fastlrp.kernels.program import instructions
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.instructions import KINDS, TRAINING
from fastlrp.kernels.program.rows import BLOCKS, PANELS, QUADS, Rows

PACKAGE = Path(fl.__file__).parent
LAYOUTS = {**golden.LAYOUTS, "panels": PANELS}
KEYS = ("values", "prediction", "score", "initial_state", "unattributed")


def hold(found, want, reduced):
    """Check to 1e-10 of the largest relevance: only the order of sums differs."""
    if reduced:
        want = {**want, "values": want["values"].sum(axis=1)}
    scale = max(np.abs(want["values"]).max(), np.abs(want["score"]).max(), 1e-300)
    for key in KEYS:
        tol = 1e-10 * (np.abs(want[key]).max() if key == "prediction" else scale)
        assert_allclose(found[key], want[key], rtol=0, atol=max(tol, 1e-300), err_msg=key)


@settings(max_examples=150, deadline=None)
@given(case=cases(samples=st.integers(1, 5)), layout=st.sampled_from(list(LAYOUTS)), reduced=st.booleans())
def test_a_program_computes_what_the_reference_does(case, layout, reduced):
    want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate)
    if want["least_sign"].min() < 1e-10:  # rounding decides the sign of a denominator
        return
    if layout != "blocks" and has_gru(case.layers):  # only tiles of a processor compute one
        layout = "blocks"
    rule = rule_value(case.rule)
    plan = make_plan(network(case.layers), case.X.shape[1], np.float64, rule=rule, aggregate=case.aggregate,
                     reduced=reduced, layout=LAYOUTS[layout])  # fmt: skip
    hold(interpreter.explain(plan, case.X, rule.numbers, case.target, layout=layout), want, reduced)


@pytest.mark.parametrize("layout", ["blocks", "quads"])
@pytest.mark.parametrize("seed", range(12))
def test_windows_that_share_months_are_those_windows(seed, layout):
    rng = np.random.default_rng(seed)
    net, T = golden.network(rng), int(rng.integers(2, 5))
    rows = rng.normal(size=(T + 6, net.n_features))
    windows = np.stack([rows[k : k + T] for k in range(len(rows) - T + 1)])
    for rule in (reference.Rule("arras"), reference.Rule("arras", recurrent=False), reference.Rule("rudder")):
        value = rule_value(rule)
        plan = make_plan(net, T, np.float64, rule=value, shared=True, layout=golden.LAYOUTS[layout])
        want = reference_batch(plain(net), windows, rule)
        if want["least_sign"].min() > 1e-10:
            hold(interpreter.explain(plan, rows, value.numbers, layout=layout), want, reduced=False)


def grus(reset_after):
    """GRUs that read X forwards and backwards, between others, and as a sequence."""
    rng = np.random.default_rng(int(reset_after))
    how, seq = {"reset_after": reset_after}, {"return_sequences": True}
    return {
        "alone": [gru(rng, 3, 4, **how), dense(rng, 4, 2)],
        "backwards, no bias": [gru(rng, 3, 4, **how, **seq, go_backwards=True, bias=False), lstm(rng, 4, 3)],
        "other activations": [
            *[gru(rng, 3, 4, **how, **seq, activation="relu", recurrent_activation="hard_sigmoid")],
            *[dense(rng, 4, 3, activation="tanh"), gru(rng, 3, 5, **how, activation="sigmoid"), dense(rng, 5, 1)],
        ],
        "both ways": [
            *[bidirectional(rng, 3, 4, "concat", gru, **how, **seq), lstm(rng, 8, 3, **seq)],
            *[bidirectional(rng, 3, 4, "sum", gru, **how, **seq), bidirectional(rng, 4, 2, "ave", gru, **how)],
        ],
    }


@pytest.mark.parametrize("aggregate", ["sequence", True, False])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", grus(True))
def test_grus_of_windows_that_share_months_and_of_others(name, reset_after, aggregate):
    layers, T, rng = grus(reset_after)[name], 4, np.random.default_rng(9)
    rows, net = rng.normal(size=(T + 6, 3)), network(layers)
    windows = np.stack([rows[k : k + T] for k in range(len(rows) - T + 1)])
    for rule in (reference.Rule(), reference.Rule(delta=1.0, eps=0.02), reference.Rule(recurrent=False),
                 reference.Rule(recurrent=False, delta=1.0, stabilizer="absorbed")):  # fmt: skip
        value, want = rule_value(rule), reference_batch(layers, windows, rule, aggregate=aggregate)
        assert want["least_sign"].min() > 1e-10
        for shared, reduced in ((False, False), (False, True), (True, False), (True, True)):
            options = {"aggregate": aggregate, "reduced": reduced, "shared": shared}
            plan = make_plan(net, T, np.float64, rule=value, **options)
            hold(interpreter.explain(plan, rows if shared else windows, value.numbers), want, reduced)
    plan = make_plan(net, T, np.float64)
    assert_allclose(interpreter.explain(plan, windows, (0, 0, 0))["prediction"], want["prediction"], rtol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("name", grus(True))
def test_gradients_of_grus_of_windows_that_share_months(name, reset_after):
    layers, T, rng = grus(reset_after)[name], 4, np.random.default_rng(9)
    rows = rng.normal(size=(T + 6, 3))
    windows = np.stack([rows[k : k + T] for k in range(len(rows) - T + 1)])
    for rule in (fl.GradientXInput(), fl.IntegratedGradients(3), fl.IntegratedGradients(2, rows[:T])):
        want = gradient_batch(layers, windows, rule)
        for shared in (True, False):
            plan = make_plan(network(layers), T, np.float64, rule=rule, shared=shared)
            hold(interpreter.explain(plan, rows if shared else windows, rule.numbers), want, reduced=False)


@settings(max_examples=80, deadline=None)
@given(case=cases(samples=st.integers(1, 5)), reduced=st.booleans(), data=st.data())
def test_a_program_of_gradients_computes_what_the_reference_does(case, reduced, data):
    rule, want = gradient_rule(data.draw, case)
    plan = make_plan(network(case.layers), case.X.shape[1], np.float64, rule=rule, reduced=reduced)
    hold(interpreter.explain(plan, case.X, rule.numbers, case.target), want, reduced)


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_windows_that_share_months_are_those_of_the_windows(seed):
    rng = np.random.default_rng(seed)
    net, T = golden.network(rng), int(rng.integers(2, 5))
    rows = rng.normal(size=(T + 6, net.n_features))
    windows = np.stack([rows[k : k + T] for k in range(len(rows) - T + 1)])
    for rule in (fl.GradientXInput(), fl.IntegratedGradients(3), fl.IntegratedGradients(2, rows[:T])):
        plan = make_plan(net, T, np.float64, rule=rule, shared=True)
        hold(interpreter.explain(plan, rows, rule.numbers), gradient_batch(plain(net), windows, rule), reduced=False)


def _branches(path: str) -> set[str]:
    """The kinds of instruction that a machine's functions compare with."""
    names = {node.id for node in ast.walk(ast.parse((PACKAGE / path).read_text())) if isinstance(node, ast.Name)}
    return names & set(KINDS)


@pytest.mark.parametrize(
    ("machine", "known"),
    [
        ("kernels/cpu/tile.py", BLOCKS.kinds),
        ("kernels/cpu/few.py", PANELS.kinds),
        ("kernels/cuda/block.py", QUADS.kinds),
        ("kernels/training/tile.py", TRAINING),
    ],
)
def test_a_machine_has_a_branch_for_every_kind_that_it_says_it_knows(machine, known):
    assert _branches(machine) == {KINDS[kind] for kind in known}


def test_programs_are_written_without_numba():
    code = (
        "import sys, numpy as np, fastlrp as fl\n"
        "from fastlrp.kernels.program.inference import make_plan\n"
        "from fastlrp.kernels.program.training import train_plan\n"
        "net = fl.Network([fl.LSTM(np.ones((2, 12)), np.ones((3, 12))), fl.Dense(np.ones((3, 1)))])\n"
        "make_plan(net, 4, 'float32', rule=fl.Arras()); train_plan(net, 4)\n"
        "found = [m for m in sys.modules if m.split('.')[0] in ('numba', 'llvmlite', 'numba_cuda')]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- what is refused when a plan is made ----------------------------------------------------------------------------


def assembled(*program, **options):
    given = {"rows": 20, "weights": 100, "machine": BLOCKS.kinds, **options}
    return instructions.assemble(program, given.pop("machine"), **given)


def test_a_mistyped_operand_is_an_error():
    with pytest.raises(TypeError, match="relevence"):
        instructions.linear_rule(2, z=0, relevence=2, extra=4, bias=0, q=5, share=7, inputs=2)
    with pytest.raises(ValueError, match="COPY takes the operands units, out, a, not 'b'"):
        assembled(instructions.Instruction(instructions.COPY, {"units": 1, "a": 0, "out": 1, "b": 3}))
    with pytest.raises(ValueError, match="COPY lacks the operand 'out'"):
        assembled(instructions.Instruction(instructions.COPY, {"units": 1, "a": 0}))


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="the machine does not know the instruction of kind 99"):
        assembled(instructions.Instruction(99, {"units": 1}))
    with pytest.raises(ValueError, match="the machine does not know the instruction LSTM_STEP"):
        assembled(instructions.lstm_step(1, weights=0, z=0, before=3, c=4, h=5, h_before=6, b_depth=0))
    with pytest.raises(ValueError, match="does not know the instruction ARRAS_CELL"):
        assembled(instructions.arras_cell(1, state=0, r_c=2, r_g=3, share=4), machine=TRAINING)


@pytest.mark.parametrize("name", ["swish", "", None, "softmax"])
def test_an_unknown_activation_is_an_error(name):
    known = "tanh, sigmoid, relu, linear, hard_sigmoid, hard_sigmoid_keras2"
    with pytest.raises(ValueError, match=f"kernels compute the activations {known} here, not {name!r}"):
        instructions.slope(1, a=0, out=1, activation=name)
    with pytest.raises(ValueError, match=f"kernels compute the activations {known} here"):
        instructions.gates(1, z=0, before=4, c=5, tanh_c=6, h=7, activation="tanh", gate=name)
    with pytest.raises(ValueError, match="ACTIVATE of an activation with code 7"):
        assembled(instructions.Instruction(instructions.ACTIVATE, {"units": 1, "a": 0, "out": 1, "activation": 7}))


def test_rows_and_weights_that_do_not_exist_are_an_error():
    with pytest.raises(ValueError, match="COPY touches rows 18 to 20 as a, expected rows 0 to 19"):
        assembled(instructions.copy(3, a=18, out=0))
    with pytest.raises(ValueError, match="FILL touches rows -1 to 0 as out, expected rows 0 to 19"):
        assembled(instructions.fill(2, out=-1))
    with pytest.raises(ValueError, match="PRODUCT reads packed weights 95 to 100, expected 0 to 99"):
        assembled(instructions.product(2, out=0, weights=95, a=2, a_depth=2))
    months = instructions.At(4, 1)
    with pytest.raises(ValueError, match="PRODUCT touches rows 4 to 6 as init, expected rows 0 to 5"):
        assembled(instructions.product(3, out=0, weights=0, a=0, a_depth=0, init=months), month_rows=6)
    with pytest.raises(ValueError, match=r"one shift of months, not \[1, 2\]"):
        instructions.product(1, out=0, weights=0, a=instructions.At(0, 1), a_depth=1, init=instructions.At(0, 2))


def test_an_unknown_rule_is_an_error():
    from fastlrp.rules import Rule

    class Unknown(Rule):
        numbers = (0.0, 0.0, 0.0)

    net = fl.Network([fl.LSTM(np.ones((2, 12)), np.ones((3, 12))), fl.Dense(np.ones((3, 1)))])
    with pytest.raises(
        ValueError, match="rule= takes 'arras' or 'rudder' or 'gradient_x_input' or 'integrated_gradients'"
    ):
        net.explain(np.ones((1, 2, 2)), rule=Unknown())
    with pytest.raises(ValueError, match="no program is registered for the rule"):
        make_plan(net, 2, "float32", rule=Unknown())


@pytest.mark.parametrize(
    ("file", "function", "apart"),
    [
        ("formulas.py", "activation", {"linear", "softmax"}),  # linear is what is left; softmax needs a whole row
        ("cpu/elementwise.py", "activate", {"linear", "softmax"}),
        ("cpu/gates.py", "slope", {"linear", "softmax"}),  # a slope of one; softmax is only a last layer's
    ],
)
def test_an_activation_has_a_branch_wherever_one_is_computed(file, function, apart):
    tree = ast.parse((PACKAGE / "kernels" / file).read_text())
    (body,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    branches = {node.id.lower() for node in ast.walk(body) if isinstance(node, ast.Name) and node.id.isupper()}
    assert branches == set(instructions.ACTIVATIONS) - apart


def test_months_are_not_read_as_rows_of_the_tile():
    months = Rows(0, 3, 0, 3, 3, sequence=True, kept=4, months=True)
    assert months.place(2) == instructions.At(0, 2)
    with pytest.raises(ValueError, match=r"read step t by place\(t\), not by row\(t\)"):
        months.row(2)
