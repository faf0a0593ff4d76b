"""A GRU beside torch's and Keras': forward passes, and arras beside the same rule vectorised in torch.

torch's GRU is Keras' with ``reset_after``: its gates stand in the order r, z, n. Whether ours is as good, relative to
torch, as our LSTM is, needs both LSTMs, too, in the same rounds.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.cases import SHAPES, Case
from benchmarks.report import Options, at_least, goals, table
from benchmarks.timing import Timing, alternate, round_of
from benchmarks.workers import Worker, WorkerError

Array = npt.NDArray[Any]
#: The part of a shape's samples that is measured.
PART = 4
#: Libraries, by the class that holds each.
LIBRARIES = {"fastlrp": "Fastlrp", "torch": "Torch", "Keras": "Keras"}
CALLS = {"fastlrp": ("GRU forward", "GRU arras", "LSTM forward", "LSTM arras"),
         "torch": ("GRU forward", "GRU arras", "LSTM forward"), "Keras": ("GRU forward",)}  # fmt: skip


def weights_of(case: Case) -> dict[str, Array]:
    """W (D, 3H), U (H, 3H) and b (2, 3H) of the GRU in Keras' order, and the head's V (H, 1), c (1,): the LSTM's of the
    case without its last gate."""
    w, H = case.weights(), case.units
    b = np.stack([w.b[: 3 * H], 0.1 * np.sin(np.arange(3 * H))]).astype(np.float32)
    return {"W": np.ascontiguousarray(w.W[:, : 3 * H]), "U": np.ascontiguousarray(w.U[:, : 3 * H]), "b": b,
            "V": w.V, "c": w.c}  # fmt: skip


class Fastlrp:
    """This library's GRU, and its LSTM of the same size."""

    def __init__(self, case: Case, threads: int) -> None:
        import fastlrp as fl
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        w, self.X, self.threads = weights_of(case), case.inputs(), threads
        self.networks = {
            "GRU": fl.Network([fl.GRU(w["W"], w["U"], w["b"]), fl.Dense(w["V"], w["c"])]),
            "LSTM": network(case.weights()),
        }

    def answer(self, what: str, n: int | None = None) -> Array:
        """What a call computes, for the first n samples."""
        cell, kind = what.split()
        net, X = self.networks[cell], self.X[:n]
        options: dict[str, Any] = {"threads": self.threads, "device": "cpu"}
        if kind == "forward":
            return np.asarray(net.predict(X, **options))
        return np.asarray(net.explain(X, rule="arras", **options).values)

    def once(self, what: str) -> float:
        """Seconds of a call, the median of a round."""
        return round_of(partial(self.answer, what))


class Torch(Fastlrp):
    """``torch.nn.GRU`` and ``nn.LSTM``; for relevance the cell is written out, since ``nn.GRU`` keeps no gates."""

    def __init__(self, case: Case, threads: int) -> None:
        import torch

        from benchmarks.peers.torch_peer import TorchPeer

        self.torch, self.lstm = torch, TorchPeer(case.weights(), threads)
        self.w = {key: torch.from_numpy(array) for key, array in weights_of(case).items()}
        self.X, self.H, D = torch.from_numpy(case.inputs()), case.units, case.features
        order = np.concatenate([np.arange(k * self.H, (k + 1) * self.H) for k in (1, 0, 2)])
        self.gru, self.dense = torch.nn.GRU(D, self.H, batch_first=True), torch.nn.Linear(self.H, 1)
        with torch.no_grad():
            for mine, value in (
                (self.gru.weight_ih_l0, self.w["W"][:, order].T), (self.gru.weight_hh_l0, self.w["U"][:, order].T),
                (self.gru.bias_ih_l0, self.w["b"][0, order]), (self.gru.bias_hh_l0, self.w["b"][1, order]),
                (self.dense.weight, self.w["V"].T), (self.dense.bias, self.w["c"]),
            ):  # fmt: skip
                mine.copy_(value)

    def answer(self, what: str, n: int | None = None) -> Array:
        X = self.X[:n]
        with self.torch.inference_mode():
            if what == "LSTM forward":
                found = self.lstm.compute("forward", X)
            elif what == "GRU forward":
                found = self.dense(self.gru(X)[1][0])[:, 0]
            else:
                found = self._arras(X)
            return np.asarray(found.numpy())

    def _arras(self, X: Any) -> Any:
        """The rule, all samples at once; see SPEC's linear rule and the README for a GRU's."""
        torch, H, (n, T, D), w = self.torch, self.H, X.shape, self.w
        W, U, (b, rb) = w["W"], w["U"], w["b"]
        eps, addcmul = self.lstm._eps, torch.addcmul
        Z = torch.addmm(b, X.reshape(n * T, D), W).view(n, T, 3 * H)
        written, kept, zhs, rs, hs = [], [], [], [], [X.new_zeros(n, H)]
        for t in range(T):
            past = torch.addmm(rb, hs[-1], U)
            z, r = torch.sigmoid(Z[:, t, : 2 * H] + past[:, : 2 * H]).split(H, 1)
            rs.append(r)
            zhs.append(addcmul(Z[:, t, 2 * H :], r, past[:, 2 * H :]))
            kept.append(z * hs[-1])
            written.append((1 - z) * torch.tanh(zhs[-1]))
            hs.append(kept[-1] + written[-1])
        Wh, Uh = (m[:, 2 * H :].T for m in (W, U))
        Q, shares, Rh = X.new_empty(n, T, H), X.new_empty(n, T, 1), self.lstm._head(hs[-1])
        for t in reversed(range(T)):
            s = eps(hs[t + 1])
            q = Rh / (hs[t + 1] + s)
            even = s.mul_(q).sum(1, keepdim=True).div_(2 * H)
            Rh, Rg = addcmul(even, kept[t], q), addcmul(even, written[t], q)
            s = eps(zhs[t])
            q = torch.div(Rg, zhs[t] + s)
            Q[:, t] = q
            shares[:, t] = s.mul_(q).sum(1, keepdim=True).div_(D + H)
            if t:
                Rh += addcmul(shares[:, t], hs[t], (rs[t] * q) @ Uh)
        R = torch.mm(Q.view(n * T, H), Wh).view(n, T, D)
        return R.mul_(X).add_(shares)


class Keras(Fastlrp):
    """Keras' own forward pass, by whatever backend is installed, compiled by it and called on all samples at once."""

    def __init__(self, case: Case, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        w, self.X = weights_of(case), case.inputs()
        layers = [keras.Input((case.steps, case.features)), keras.layers.GRU(case.units), keras.layers.Dense(1)]
        self.model = keras.Sequential(layers)
        self.model.set_weights([w[key] for key in ("W", "U", "b", "V", "c")])

    def answer(self, what: str, n: int | None = None) -> Array:
        X = self.X[:n]
        return np.asarray(self.model.predict(X, batch_size=len(X), verbose=0))[:, 0]


def measure(case: Case, options: Options) -> tuple[dict[tuple[str, str], Timing], dict[str, str], float]:
    """Timings of alternating rounds, why a library is missing, and the largest difference between answers."""
    workers: dict[str, Worker] = {}
    missing: dict[str, str] = {}
    for name, factory in LIBRARIES.items():
        try:
            given: dict[str, Any] = {"case": case, "threads": options.threads}
            workers[name] = Worker(f"benchmarks.sections.gru:{factory}", options.threads, **given)
            workers[name].call("answer", what="GRU forward", n=8)
        except WorkerError as error:
            missing[name] = str(error)
            if name in workers:
                workers.pop(name).stop()
    try:
        apart = 0.0
        for what in ("GRU forward", "GRU arras"):
            found = [one.call("answer", what=what, n=256) for name, one in workers.items() if what in CALLS[name]]
            apart = max(apart, *(float(np.median(abs(a - found[0])) / abs(found[0]).max()) for a in found))
        calls = {
            (name, what): partial(worker.call, "once", what=what)
            for name, worker in workers.items()
            for what in CALLS[name]
        }
        for call in calls.values():
            call()
        return alternate(calls, options.rounds), missing, apart
    finally:
        for worker in workers.values():
            worker.stop()


def run(options: Options) -> str:
    """The section's text: a table, the goals, and the machine."""
    rows, asked, absent = [], [], dict[str, str]()
    for shape in SHAPES:
        case = shape.scaled(options.samples(shape.samples // PART))
        found, missing, apart = measure(case, options)
        absent |= missing
        cells = [str(found.get((name, what), "-")) for name in LIBRARIES for what in CALLS[name]]
        rows.append((f"{case.samples:,} x ({case.label})", *cells, f"{apart:.0e}"))
        time = {key: timing.median for key, timing in found.items()}
        of_lstm = time["fastlrp", "GRU arras"] / time["fastlrp", "LSTM arras"]
        asked.append(at_least(f"({case.label}): arras, LSTM's time over GRU's", 1 / of_lstm, 1.0))
        if ("torch", "GRU forward") in time:
            ratio = {cell: time["torch", f"{cell} forward"] / time["fastlrp", f"{cell} forward"]
                     for cell in ("GRU", "LSTM")}  # fmt: skip
            what = f"({case.label}): forward over torch's, relative to LSTM's over torch's ({ratio['LSTM']:.2f}x)"
            asked.append(at_least(what, ratio["GRU"] / ratio["LSTM"], 1.0))
    head = [f"{name}, {what}" for name in LIBRARIES for what in CALLS[name]]
    return "\n\n".join([
        "## GRU",
        "Seconds of a call, float32, median of rounds that alternate; reset gate after the product, as in torch. For "
        "relevance torch writes the cell out, as in the first section. The last column is the median difference of "
        "the libraries' answers, of the largest.",
        table(("case", *head, "answers apart"), rows),
        *[f"{name}: not measured: {why}" for name, why in absent.items()],
        goals(asked),
        machine.describe(("fastlrp", "Numba", "torch", "Keras"), options.threads),
    ])  # fmt: skip
