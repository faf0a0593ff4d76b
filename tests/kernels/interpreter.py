"""The plainest possible machine: runs programs in NumPy, float64, all samples side by side, without compilation.

It reads the same records and packed weights as the compiled machines, so programs can be compared with ``reference.py``
without those machines. Each instruction is implemented here a second time, from its docstring.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import reference

from fastlrp.kernels.program import instructions as do_
from fastlrp.kernels.program.inference import Plan
from fastlrp.kernels.program.rows import LOG2E, QUAD, block_height, panel_width
from fastlrp.model.layers import CURVES

Array = np.ndarray


def _unpacked_blocks(w: Array, rows: int, depth: int) -> tuple[Array, Array]:
    """Biases (rows,) and weights (rows, depth) from blocks of 6, 4, 2 and 1 rows."""
    whole, row = np.empty((rows, 1 + depth)), 0
    while row < rows:
        height = block_height(rows - row)
        whole[row : row + height] = w[: height * (1 + depth)].reshape(1 + depth, height).T
        w, row = w[height * (1 + depth) :], row + height
    return whole[:, 0], whole[:, 1:]


def _unpacked_quads(w: Array, rows: int, depth: int) -> tuple[Array, Array]:
    """The same from rows that are padded to whole quads."""
    filled = -(-rows // QUAD) * QUAD
    whole = w[: (1 + depth) * filled].reshape(1 + depth, filled)[:, :rows].T
    return whole[:, 0], whole[:, 1:]


def _unpacked_panels(w: Array, rows: int, depth: int) -> tuple[Array, Array]:
    """The same from panels of rows."""
    whole, row = np.empty((rows, 1 + depth)), 0
    while row < rows:
        width = panel_width(rows - row, w.itemsize)
        part = whole[row : row + width]
        part[:] = w[: (1 + depth) * width].reshape(1 + depth, width)[:, : len(part)].T
        w, row = w[(1 + depth) * width :], row + width
    return whole[:, 0], whole[:, 1:]


def _sign(z: Array) -> Array:
    return np.where(z >= 0, 1.0, -1.0)


#: Derivatives of activations where their output is y.
OUTPUT_SLOPES = {
    "linear": np.ones_like,
    "tanh": lambda y: 1 - y**2,
    "sigmoid": lambda y: y - y**2,
    "relu": lambda y: 1.0 * (y > 0),
    "hard_sigmoid": lambda y: ((y > 0) & (y < 1)) / 6,
    "hard_sigmoid_keras2": lambda y: ((y > 0) & (y < 1)) / 5,
}


def opened(t: Array) -> Array:
    """1/(1 + 2^t), above 0 for any t, as kernels compute it: a closed gate keeps the sign of what it lets through."""
    return 1 / (1 + np.exp2(np.minimum(t, 1021.0)))


class Interpreter:
    """The rows of one tile with as many lanes as samples; ``months`` (row, month) where windows share theirs."""

    def __init__(self, plan: Plan, n: int, numbers: tuple[float, float, float], unpacked: Any) -> None:
        self.plan, self.n = plan, n
        self.eps, self.handed, self.delta = numbers
        self.rows = np.full((plan.rows, n), np.nan)  # NaN exposes any read of a row that was not written
        for row, count in ((plan.lost, 1), (plan.initial, 1), (plan.zeros, plan.n_zeros)):
            self.rows[row : row + count] = 0
        self.months = np.full((plan.month_rows, n + plan.steps - 1), np.nan)
        self.unpacked = unpacked

    def read(self, do: Any, name: str, units: int) -> Array:
        """Rows of an operand, from the tile or, shifted, from the months."""
        among = f"{do_.WORDS[do_.WORD[name]][0]}_months"
        if among in do_.WORD and do[among]:
            return self.months[do[name] : do[name] + units, do["shift"] : do["shift"] + self.n]
        return self.rows[do[name] : do[name] + units]

    def sums(self, do: Any, source: str, units: int, packed: int) -> tuple[Array, Array, Array]:
        """A product's start, first part and second part, each of ``units`` sums."""
        a_depth, b_depth = int(do["a_depth"]), int(do["b_depth"])
        bias, w = self.unpacked(self.plan.weights[packed:], units, a_depth + b_depth)
        start = self.read(do, "init", units) if do["init"] >= 0 else bias[:, None]
        return (
            start,
            w[:, :a_depth] @ self.read(do, "a", a_depth),
            w[:, a_depth:] @ self.rows[do[source] : do[source] + b_depth],
        )

    def product(self, do: Any) -> None:
        units = int(do["units"])
        total = sum(self.sums(do, "b", units, int(do["weights"])))
        out = self.read(do, "out", units)
        if do["mode"] != do_.STORE:
            total = total * self.read(do, "mul", units) + self.rows[do["share"]]
        out[:] = out + total if do["mode"] == do_.SPREAD_ADD else total

    def products(self, do: Any) -> None:
        units, depth, stride, steps = (int(do[name]) for name in ("units", "a_depth", "stride", "steps"))
        bias, w = self.unpacked(self.plan.weights[do["weights"] :], units, depth)
        for t in range(steps):
            first = do["a"] + t * stride
            self.rows[do["out"] + t * units : do["out"] + (t + 1) * units] = (
                bias[:, None] + w @ self.rows[first : first + depth]
            )

    def _cell(self, do: Any, zi: Array, zf: Array, zg: Array, zo: Array) -> tuple[Array, Array]:
        """i*g and f*c' from gates in units of 2^t; writes the new c and h."""
        i, f, o = (opened(z) for z in (zi, zf, zo))
        written, kept = i * np.tanh(zg), f * self.read(do, "before", len(zf))
        c = written + kept
        self.read(do, "h", len(zo))[:] = o * np.tanh(c)
        self.read(do, "c", len(zo))[:] = c
        return written, kept

    def cell(self, do: Any) -> None:
        units = int(do["units"])
        z = self.read(do, "z", 3 * units)
        zi, zf, zg = np.split(z.copy(), 3)
        z[:units], z[units : 2 * units] = self._cell(do, zi, zf, zg, self.read(do, "c", units).copy())

    def lstm_step(self, do: Any) -> None:
        units = int(do["units"])
        order = np.arange(4 * units).reshape(units, 4).T.ravel()  # a unit's four gates lie side by side
        start, first, second = self.sums(do, "h_before", 4 * units, int(do["weights"]))
        if do["init"] < 0:
            start = start[order]
        upper = start + first[order]
        gates = np.split(upper + second[order], 4)
        z = self.read(do, "z", (3 + int(do["mode"])) * units)
        if do["mode"]:
            z[3 * units :] = upper[2 * units : 3 * units]
        z[2 * units : 3 * units] = gates[2]
        z[:units], z[units : 2 * units] = self._cell(do, *gates)

    def linear_rule(self, do: Any) -> None:
        units = int(do["units"])
        z, b = self.read(do, "z", units), self.plan.weights[do["bias"] : do["bias"] + units, None]
        q = (self.read(do, "relevance", units) + self.rows[do["extra"]]) / (z + self.eps * _sign(z))
        share = self.handed * _sign(z) + self.delta * b
        self.read(do, "q", units)[:] = q
        self.rows[do["share"]] = do["factor"] * (share * q).sum(axis=0)
        self.rows[self.plan.lost] += ((b + self.eps * _sign(z) - share) * q).sum(axis=0)

    def arras_cell(self, do: Any) -> None:
        units = int(do["units"])
        written, kept = np.split(self.read(do, "state", 2 * units), 2)
        r_c, s = self.read(do, "r_c", units), _sign(written + kept)
        q = r_c / (written + kept + self.eps * s)
        self.read(do, "r_g", units)[:], r_c[:] = written * q, kept * q
        self.rows[do["share"]] = do["factor"] * self.handed * (s * q).sum(axis=0)
        self.rows[self.plan.lost] += (self.eps - self.handed) * (s * q).sum(axis=0)

    def rudder_arrival(self, do: Any) -> None:
        units = int(do["units"])
        written, kept = np.split(self.read(do, "state", 2 * units), 2)
        arrived, c = self.read(do, "arrived", units), written + kept
        self.read(do, "q_sum", units)[:] += arrived / (c + self.eps * _sign(c))
        self.rows[self.plan.lost] += arrived.sum(axis=0)

    def rudder_cell(self, do: Any) -> None:
        units = int(do["units"])
        r_g = self.read(do, "state", units) * self.read(do, "q_sum", units)
        self.read(do, "r_g", units)[:] = r_g
        self.rows[self.plan.lost] -= r_g.sum(axis=0)

    def left_out(self, do: Any) -> None:
        upper, z, q = (self.read(do, name, int(do["units"])) for name in ("upper", "z", "q"))
        self.rows[self.plan.lost] += ((z - upper) * q).sum(axis=0)

    def merge_rule(self, do: Any) -> None:
        a, q, out = (self.read(do, name, int(do["units"])) for name in ("a", "q", "out"))
        out[:] = do["factor"] * a * q + self.rows[do["share"]]

    def gates(self, do: Any) -> None:
        units = int(do["units"])
        z, (gate, signal) = self.read(do, "z", 4 * units), self.of_gates(do)
        zi, zf, zg, zo = np.split(z.copy(), 4)
        i, f, g, o = gate(zi), gate(zf), signal(zg), gate(zo)
        c = f * self.read(do, "before", units) + i * g
        z[:] = np.concatenate([i, f, g, o])
        self.read(do, "c", units)[:], self.read(do, "tanh_c", units)[:] = c, signal(c)
        self.read(do, "h", units)[:] = o * signal(c)

    def of_gates(self, do: Any) -> list[Any]:
        """The activations of gates and of signals."""
        return [reference.ACTIVATIONS[do_.ACTIVATIONS[do[name]]] for name in ("gate", "activation")]

    def gates_gradient(self, do: Any) -> None:
        units = int(do["units"])
        z, dc = self.read(do, "z", 4 * units), self.read(do, "dc", units)
        before, t, dh = (self.read(do, name, units).copy() for name in ("before", "tanh_c", "dh"))
        i, f, g, o = np.split(z.copy(), 4)
        gate, signal = (OUTPUT_SLOPES[do_.ACTIVATIONS[do[name]]] for name in ("gate", "activation"))
        dc += dh * o * signal(t)
        z[:] = np.concatenate([dc * g * gate(i), dc * before * gate(f), dc * i * signal(g), dh * t * gate(o)])
        dc *= f

    def gru_cell(self, do: Any) -> None:
        units, stage = int(do["units"]), do["stage"]
        usual = do["activation"] == do_.TANH and do["gate"] == do_.SIGMOID
        gate, signal = self.of_gates(do)
        z, before = self.read(do, "z", 4 * units), self.read(do, "before", units).copy()
        is_open = opened if usual else gate
        rows = {name: z[k * units : (k + 1) * units] for k, name in enumerate(("z", "r", "zh", "past"))}
        with np.errstate(over="ignore"):  # a closed gate overflows
            if stage != do_.UPDATE:
                rows["r"][:] = is_open(rows["r"].copy())
            if stage == do_.WHOLE:
                rows["zh"][:] = self.read(do, "a", units) + rows["r"] * rows["past"]
                rows["past"][:] = rows["r"]
            if stage == do_.RESET:
                rows["past"][:] = rows["r"] * before
                return
            kept = is_open(rows["z"].copy())
        rows["z"][:], rows["r"][:] = (1 - kept) * signal(rows["zh"]), kept * before
        self.read(do, "h", units)[:] = rows["z"] + rows["r"]

    def reset_rule(self, do: Any) -> None:
        units = int(do["units"])
        z, reset, relevance = (self.read(do, name, units) for name in ("z", "reset", "relevance"))
        own, past = self.plan.weights[do["bias"] : do["bias"] + 2 * units, None].reshape(2, units, 1)
        b = own + reset * past
        q = (relevance + self.rows[do["extra"]]) / (z + self.eps * _sign(z))
        share = self.handed * _sign(z) + self.delta * b
        self.read(do, "q", units)[:], relevance[:] = q, reset * q
        self.rows[do["share"]] = do["factor"] * (share * q).sum(axis=0)
        self.rows[self.plan.lost] += ((b + self.eps * _sign(z) - share) * q).sum(axis=0)

    def reset_left_out(self, do: Any) -> None:
        units = int(do["units"])
        upper, z, reset, q = (self.read(do, name, units) for name in ("upper", "z", "reset", "q"))
        b = self.plan.weights[do["bias"] : do["bias"] + units, None]
        self.rows[self.plan.lost] += ((z - upper - reset * b) * q).sum(axis=0)

    def gru_gates(self, do: Any) -> None:
        units, stage, (gate, signal) = int(do["units"]), do["stage"], self.of_gates(do)
        whole, before = self.read(do, "z", 4 * units), self.read(do, "before", units).copy()
        z, r, g, past = whole.reshape(4, units, -1)
        if stage != do_.UPDATE:
            z[:], r[:] = gate(z.copy()), gate(r.copy())
        if stage == do_.RESET:
            past[:] = r * before
            return
        g[:] = signal(g + r * past if stage == do_.WHOLE else g.copy())
        self.read(do, "h", units)[:] = z * before + (1 - z) * g

    def gru_gates_gradient(self, do: Any) -> None:
        units, stage = int(do["units"]), do["stage"]
        whole, before, dh = self.read(do, "z", 4 * units), self.read(do, "before", units), self.read(do, "dh", units)
        z, r, g, past = whole.reshape(4, units, -1)
        gate, signal = (OUTPUT_SLOPES[do_.ACTIVATIONS[do[name]]] for name in ("gate", "activation"))
        if stage == do_.RESET:
            d_reset = self.read(do, "d_reset", units)
            dh += d_reset * r
            r[:] = d_reset * before * gate(r)
            return
        dz, dg = dh * (before - g) * gate(z), dh * (1 - z) * signal(g)
        dh *= z
        z[:], g[:] = dz, dg
        if stage == do_.WHOLE:
            r[:], past[:] = dg * past * gate(r), dg * r

    def slope(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        out *= OUTPUT_SLOPES[do_.ACTIVATIONS[do["activation"]]](a)

    def curve(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        out[:] = reference.CURVES[CURVES[do["activation"]]](a, float(do["factor"]))

    def curve_slope(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        out *= reference.CURVE_SLOPES[CURVES[do["activation"]]](a, float(do["factor"]))

    def along(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        out[:] = self.plan.weights[do["bias"] : do["bias"] + len(out), None] + self.part * a

    def activate(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        function = reference.ACTIVATIONS[do_.ACTIVATIONS[do["activation"]]]
        out[:] = np.stack([function(lane) for lane in a.T], axis=1)

    def differs(self, do: Any) -> None:
        a = self.read(do, "a", int(do["units"])).astype(np.float32)
        self.rows[do["out"]] = (a != np.float32(do["factor"])).any(axis=0)

    def blend(self, do: Any) -> None:
        a, out = (self.read(do, name, int(do["units"])) for name in ("a", "out"))
        out[:] = np.where(self.rows[do["b"]] == 0, a, out)

    def simple(self, kind: str, do: Any) -> None:
        out = self.read(do, "out", 1 if kind == "SUM" else int(do["units"]))
        a = None if kind in ("FILL", "SCALE") else self.read(do, "a", int(do["units"])).copy()
        if kind == "FILL":
            out[:] = 0
        elif kind == "SCALE":
            out *= do["factor"]
        elif kind == "SUM":
            out += a.sum(axis=0)
        else:
            out[:] = {"COPY": a, "ADD": out + do["factor"] * a, "MULTIPLY": out * a}[kind]

    def run(self, program: Array) -> None:
        for do in program:
            kind = do_.KINDS[do["kind"]]
            own = getattr(self, kind.lower(), None)
            own(do) if own else self.simple(kind, do)

    def run_before(self) -> None:
        """Run the part over months, which have rows of their own: the same machine, with those rows as its tile."""
        tile, self.rows = self.rows, self.months
        self.run(self.plan.before)
        self.rows = tile


def explain(
    plan: Plan, X: Array, numbers: tuple[float, float, float], target: int = 0, *, layout: str = "blocks", at: int = 0
) -> dict[str, Array]:
    """Explain samples (n, T, D), or the rows (n + T - 1, D) of consecutive windows where the plan shares months.

    ``target`` is among the outputs from ``at`` on, the first of the step that is explained.
    """
    target += at
    T, D = plan.steps, plan.n_features
    n = X.shape[0] if X.ndim == 3 else X.shape[0] - T + 1
    unpacked = {"blocks": _unpacked_blocks, "quads": _unpacked_quads, "panels": _unpacked_panels}[layout]
    machine = Interpreter(plan, n, numbers, unpacked)
    if X.ndim == 3:
        machine.rows[plan.x : plan.x + T * D] = X.reshape(n, T * D).T
    else:
        machine.months[:D] = X.T
        machine.run_before()
    rows = machine.rows
    machine.run(plan.start)
    for node, (machine.part, weight) in enumerate(plan.nodes if len(plan.nodes) else [(1.0, None)]):
        machine.run(plan.forward)
        if weight is not None and node == 0:
            rows[plan.lost] = rows[plan.pre + target]
        if plan.explains and weight != 0:
            rows[plan.top : plan.top + plan.n_outputs] = 0
            rows[plan.top + target] = rows[plan.pre + target] if weight is None else weight
            machine.run(plan.relevance)
    machine.run(plan.end)
    found = {"prediction": rows[plan.output : plan.output + plan.n_outputs].T.copy()}
    if plan.explains:
        found["score"] = rows[plan.pre + target]
        found["values"] = rows[plan.rel_x : plan.rel_x + plan.width].T.reshape(n, *plan.shape)
        found["initial_state"], found["unattributed"] = rows[plan.initial], rows[plan.lost]
    return found


assert 1 / np.log(2) == LOG2E  # _cell's units of 2^t rest on this
