"""Where the time goes at each shape: products, activations, moving data."""

from __future__ import annotations

from benchmarks import machine
from benchmarks.cases import RULES, SHAPES, Case
from benchmarks.report import Options, table
from benchmarks.workers import Worker, WorkerError


class Profiled:
    """fastlrp's own account of a call, where its kernels keep one."""

    def __init__(self, case: Case) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.network, self.X = network(case.weights()), case.inputs()

    def account(self, rule: str, threads: int) -> dict[str, float] | None:
        """Seconds by what they were spent on; None where the kernels keep no account."""
        from fastlrp.kernels import cpu

        profile = getattr(cpu, "profile", None)
        if profile is None:
            return None
        found: dict[str, float] = profile(self.network, self.X, rule=rule, threads=threads)
        return found


def run(options: Options) -> str:
    accounts: dict[str, dict[str, float]] = {}
    why = "not available: the kernels keep no account of their time."
    for shape in SHAPES:
        case = shape.scaled(options.samples(shape.samples))
        try:
            with Worker("benchmarks.sections.profile:Profiled", options.threads, case=case) as worker:
                for rule in RULES:
                    account = worker.call("account", rule=rule, threads=options.threads)
                    if account:
                        accounts[f"({case.label}) {rule}"] = account
        except WorkerError as error:
            why = f"not available: {error}"
            break
    parts = ["## Where the time goes"]
    if accounts:
        names = list(dict.fromkeys(name for account in accounts.values() for name in account))
        rows = []
        for label, account in accounts.items():
            total = sum(account.values())
            rows.append((label, f"{total:.4g}", *(f"{account.get(name, 0.0) / total:.0%}" for name in names)))
        parts.append(table(("case", "seconds", *names), rows))
    else:
        parts.append(why)
    parts.append(machine.describe(("fastlrp", "Numba"), options.threads))
    return "\n\n".join(parts)
