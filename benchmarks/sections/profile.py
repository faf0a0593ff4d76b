"""Where the time goes at each shape: products, activations, moving data."""

from __future__ import annotations

from benchmarks import machine
from benchmarks.cases import RULES, SHAPES, Case
from benchmarks.report import Options, table
from benchmarks.workers import Worker


class Profiled:
    """fastlrp's own account of a call's time, where its kernels keep one."""

    def __init__(self, case: Case) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.network, self.X = network(case.weights()), case.inputs()

    def account(self, rule: str, threads: int) -> dict[str, float]:
        """Seconds by part, each part run alone, and of the whole."""
        from fastlrp.kernels import cpu
        from fastlrp.panels.windows import Windows
        from fastlrp.rules import as_rule

        n, steps, features = self.X.shape
        windows = Windows(self.X.reshape(n * steps, features))
        return dict(cpu.profile(self.network, windows, steps, rule=as_rule(rule), threads=threads))


def run(options: Options) -> str:
    rows = []
    for shape in SHAPES:
        case = shape.scaled(options.samples(shape.samples))
        with Worker("benchmarks.sections.profile:Profiled", options.threads, case=case) as worker:
            for rule in RULES:
                account = worker.call("account", rule=rule, threads=options.threads)
                whole = account.pop("whole")
                names = tuple(account)
                parts = (f"{seconds / whole:.0%}" for seconds in account.values())
                rows.append((f"({case.label}) {rule}", f"{whole:.4g}", *parts))
    return "\n\n".join(
        (
            "## Where the time goes",
            "Each part is run alone, with a cache that the others have not used: parts need not add up to the whole.",
            table(("case", "seconds", *names), rows),
            machine.describe(("fastlrp", "Numba"), options.threads),
        )
    )
