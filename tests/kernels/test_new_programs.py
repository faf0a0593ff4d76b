"""Programs of networks that only a processor computes: other activations, every step's output, no recurrent layer."""

import interpreter
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    bidirectional,
    cases,
    dense,
    gradient_batch,
    gradient_rule,
    lstm,
    n_outputs,
    network,
    reference_batch,
    rule_value,
)
from test_programs import hold

import fastlrp as fl
from fastlrp.kernels.program import instructions
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.rows import QUADS

KINDS = pytest.mark.parametrize("kind", ["curves", "sequence", "dense"])
ALL = settings(max_examples=80, deadline=None)


def step_of(case):
    """What a plan is asked for, and the place of the explained step among its outputs."""
    T, K = case.X.shape[1], n_outputs(case.layers)
    return (None, 0) if case.at_step < 0 else (case.at_step, case.at_step % T * K)


def of_step(found, case):
    """What was found, with the explained step's prediction."""
    _, at = step_of(case)
    prediction = found["prediction"][:, at : at + n_outputs(case.layers)]
    return {**found, "prediction": prediction}


@KINDS
def test_a_program_computes_what_the_reference_does(kind):
    @ALL
    @given(case=cases(samples=st.integers(1, 4), kind=kind), reduced=st.booleans())
    def check(case, reduced):
        want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate, case.at_step)
        if want["least_sign"].min() < 1e-10:  # rounding decides the sign of a denominator
            return
        rule, (step, at) = rule_value(case.rule), step_of(case)
        plan = make_plan(network(case.layers), case.X.shape[1], np.float64, rule=rule, aggregate=case.aggregate,
                         reduced=reduced, at_step=step)  # fmt: skip
        hold(of_step(interpreter.explain(plan, case.X, rule.numbers, case.target, at=at), case), want, reduced)

    check()


@KINDS
def test_a_program_of_gradients_computes_what_the_reference_does(kind):
    @ALL
    @given(case=cases(samples=st.integers(1, 4), kind=kind), reduced=st.booleans(), data=st.data())
    def check(case, reduced, data):
        (rule, want), (step, at) = gradient_rule(data.draw, case), step_of(case)
        plan = make_plan(network(case.layers), case.X.shape[1], np.float64, rule=rule, reduced=reduced, at_step=step)
        hold(of_step(interpreter.explain(plan, case.X, rule.numbers, case.target, at=at), case), want, reduced)

    check()


@pytest.mark.parametrize("step", [0, 2, 3])
def test_windows_that_share_months_are_explained_at_a_step_as_those_windows(step):
    rng, T = np.random.default_rng(step), 4
    layers = [lstm(rng, 3, 4, return_sequences=True), bidirectional(rng, 4, 3, return_sequences=True), dense(rng, 6, 1)]
    rows = rng.normal(size=(T + 5, 3))
    windows = np.stack([rows[k : k + T] for k in range(6)])
    for rule in (fl.Arras(), fl.Rudder(), fl.GradientXInput(), fl.IntegratedGradients(3)):
        plan = make_plan(network(layers), T, np.float64, rule=rule, shared=True, at_step=step)
        found = interpreter.explain(plan, rows, rule.numbers, at=step)
        if rule.hands_down:
            from reference import Rule

            want = reference_batch(layers, windows, Rule(rule.name), at_step=step)
        else:
            want = gradient_batch(layers, windows, rule, at_step=step)
        hold({**found, "prediction": found["prediction"][:, step : step + 1]}, want, reduced=False)


def test_steps_above_the_explained_one_take_no_instruction_back():
    """The way back of a causal network is as long as that of the shorter window."""
    rng = np.random.default_rng(0)
    layers = [lstm(rng, 3, 4, return_sequences=True), lstm(rng, 4, 5, return_sequences=True), dense(rng, 5, 1)]
    net, last = network(layers), network([layers[0], {**layers[1], "return_sequences": False}, layers[2]])
    for t in range(6):
        shorter = make_plan(last, t + 1, np.float64, rule=fl.Arras()).relevance
        whole = make_plan(net, 6, np.float64, rule=fl.Arras(), at_step=t).relevance
        fills = 2 * (5 - t)  # rows of steps that get nothing, of X and of the lower LSTM
        assert shorter.size <= whole.size <= shorter.size + fills


def test_a_machine_that_knows_no_curves_refuses_them():
    rng = np.random.default_rng(0)
    net = network([lstm(rng, 2, 3), dense(rng, 3, 2, activation="gelu"), dense(rng, 2, 1)])
    with pytest.raises(ValueError, match="the machine does not know the instruction CURVE"):
        make_plan(net, 2, np.float64, rule=fl.Arras(), layout=QUADS)
    with pytest.raises(ValueError, match="CURVE of an activation with code 10"):
        instructions.assemble(
            [instructions.Instruction(instructions.CURVE, {"units": 1, "a": 0, "out": 1, "activation": 10})],
            [instructions.CURVE], rows=2,
        )  # fmt: skip
