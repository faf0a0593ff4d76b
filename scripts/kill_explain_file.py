"""Kills explain_file by SIGKILL at random moments, takes it up again each time, and compares the file with a whole run.

    python scripts/kill_explain_file.py [KILLS]

Every run gets a random part of the time that a whole one takes, from its start or from the last block that was noted;
after ten kills it may end, and begins anew.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fastlrp as fl

_CHILD = """
import sys, fastlrp as fl
from fastlrp.files import door
door._MOST_ROWS = 2000
print("ready", flush=True)
sys.stdin.readline()
fl.explain_file("model.h5", sys.argv[1], sys.argv[2], resume=True, progress=False)
"""


def make(folder: Path) -> None:
    """A model, and a panel of 60,000 stock-months by month and by asset."""
    rng = np.random.default_rng(0)
    D, H = 20, 16
    lstm = fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), rng.normal(size=4 * H))
    net = fl.Network(
        [lstm, fl.Dense(rng.normal(size=(H, 1)), np.zeros(1))], steps=12, features=[f"x{j}" for j in range(D)]
    )
    fl.write_keras(net, folder / "model.h5")
    months = pd.date_range("2000-01-31", periods=120, freq="ME")
    index = pd.MultiIndex.from_product([months, range(10_000, 10_500)], names=["date", "permno"])
    panel = pd.DataFrame(rng.normal(size=(len(index), D)).astype(np.float32), index, net.features)
    panel.to_parquet(folder / "by_time.parquet", row_group_size=3000)
    panel.swaplevel().sort_index().to_parquet(folder / "by_asset.parquet", row_group_size=3000)


def start(folder: Path, source: str, out: str) -> subprocess.Popen[str]:
    """A process that has imported everything and waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", _CHILD, source, out], cwd=folder, text=True, **pipes)  # type: ignore[call-overload]
    child.stdout.readline()
    return child


def whole(folder: Path, source: str, out: str) -> float:
    """Run to the end; seconds."""
    child, begun = start(folder, source, out), time.perf_counter()
    _, err = child.communicate("\n")
    assert child.returncode == 0, err
    return time.perf_counter() - begun


def killed_runs(kills: int, seed: int = 0) -> tuple[int, int]:
    """Kill at least so many runs; how many were killed, and how many files they were taken up to.

    Raises
    ------
    AssertionError
        If a file is not whole, has other bytes than one that was never killed, or leaves something behind.
    """
    rng, done, ended = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        for source, enough in (("by_time.parquet", (kills + 1) // 2), ("by_asset.parquet", kills)):
            whole(folder, source, "want.parquet")  # compiles
            lasts = whole(folder, source, "want.parquet")
            want = (folder / "want.parquet").read_bytes()
            while done < enough:
                for _ in range(10):
                    child = start(folder, source, "out.parquet")
                    child.stdin.write("\n")
                    child.stdin.flush()
                    time.sleep(rng.uniform(0, lasts))
                    child.kill()
                    _, err = child.communicate()
                    killed = child.returncode != 0
                    done += killed
                    if (folder / "out.parquet").exists():
                        assert (folder / "out.parquet").read_bytes() == want, "a file that is not whole"
                        assert not err, err
                whole(folder, source, "out.parquet")
                assert (folder / "out.parquet").read_bytes() == want, f"other bytes after {done} kills"
                left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
                assert not left, left
                (folder / "out.parquet").unlink()
                ended += 1
            print(f"{source}: a whole run takes {lasts:.1f} s", file=sys.stderr, flush=True)
    return done, ended


def main(kills: int) -> int:
    done, ended = killed_runs(kills)
    print(f"{done} kills, {ended} files taken up to their end, all the same to the byte")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
