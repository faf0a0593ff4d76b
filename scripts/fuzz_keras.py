"""Damage real Keras files at random and read them: ``python scripts/fuzz_keras.py --seconds 600`` (or ``--files``).

Every damaged file is read in a child process that may use 200 MB and 2 seconds of a processor beyond its start. A
child must end with a network or a one-line ModelFileError; a crash, another exception, a warning, a hang or running out
of memory is reported, and the file that caused it is kept. Linux only: it forks, and reads /proc.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fastlrp
from fastlrp.data import model_path
from fastlrp.keras import describe_keras, read_keras

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
MEMORY, SECONDS = 200 << 20, 2
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
OK, SENTENCE, WRONG = 0, 1, 3
DEALT_WITH = {OK: "read", SENTENCE: "refused"}


def seeds() -> list[tuple[str, bytes, str | None]]:
    """The real files, those of weights alone with their models' json, and the embedded file, which has names."""
    found: list[tuple[str, bytes, str | None]] = [("embedded/model.h5", model_path().read_bytes(), None)]
    for archive in sorted(DATA.glob("keras-*.zip")):
        with zipfile.ZipFile(archive) as bundle:
            names = [name for name in bundle.namelist() if name.endswith((".h5", ".keras"))]
            for name in names:
                case, kind = name.split(".", 1)
                alone = kind in {"weights.h5", "legacy.h5"} and f"{case}.json" in bundle.namelist()
                text = bundle.read(f"{case}.json").decode("utf-8") if alone else None
                found.append((f"{archive.stem}/{name}", bundle.read(name), text))
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """Damage the data in one to eight small places, most of them where the structure is, not in a run of zeros."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(out))
        for _ in range(20):
            if out[at]:
                break
            at = rng.randrange(len(out))
        kind = rng.randrange(8)
        if kind <= 2:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            out[at] = rng.randrange(256)
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            out[at : at + size] = (rng.choice(INTERESTING) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind == 5:
            out[at : at + rng.randrange(1, 64)] = b""
        elif kind == 6:
            start, size = rng.randrange(len(out)), rng.randrange(1, 256)
            out[at : at + size] = out[start : start + size]
        elif rng.random() < 0.3:
            del out[at + 1 :]
        else:
            start = rng.randrange(0, len(out), 8)  # a pointer into the file
            out[at - at % 8 : at - at % 8 + 8] = start.to_bytes(8, "little")
    return bytes(out)


def attempt(path: Path, architecture: str | None) -> int:
    """Read a file; return which of the three ways it ended."""
    warnings.simplefilter("error")
    outcome = OK
    for read in (read_keras, describe_keras):
        try:
            read(path, architecture=architecture)
        except fastlrp.ModelFileError as error:
            if "\n" in str(error) or len(str(error)) > 2000 or error.__cause__ is not None:
                print(f"not one foreseen sentence: {error}", file=sys.stderr)
                return WRONG
            outcome = SENTENCE
        except BaseException:
            traceback.print_exc()
            return WRONG
    return outcome


def child(path: Path, architecture: str | None) -> tuple[str, float]:
    """Read a file in a child process with limits; return how it ended, and after how long."""
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # processor time, since the machine may be busy
        signal.setitimer(signal.ITIMER_REAL, 60 * SECONDS)
        os._exit(attempt(path, architecture))
    status = os.waitpid(pid, 0)[1]
    taken = time.perf_counter() - start
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hung" if number in (signal.SIGALRM, signal.SIGPROF) else f"crashed with signal {number}"), taken
    return DEALT_WITH.get(os.WEXITSTATUS(status), "wrong"), taken


def fuzz(seed: int, numbers: Iterable[int], keep: Path | None = None) -> tuple[Counter[str], float]:
    """Damage and read a file for each number; how many ended in which way, and the seconds of the slowest.

    Files that were neither read nor refused are moved to ``keep``, and named.
    """
    rng, files, ends, slowest = random.Random(seed), seeds(), Counter[str](), 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-keras-") as folder:
        for number in numbers:
            name, data, architecture = rng.choice(files)
            path = Path(folder, "current" + Path(name).suffix)
            path.write_bytes(damage(data, rng))
            end, taken = child(path, architecture)
            ends[end] += 1
            slowest = max(slowest, taken)
            if end not in DEALT_WITH.values():
                keep = keep or Path(tempfile.mkdtemp(prefix="fuzz-keras-bad-"))
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{seed}-{number}-{name.replace('/', '-')}"
                shutil.move(path, kept)
                print(f"{end}: {kept}", file=sys.stderr)
    return ends, slowest


def not_dealt_with(ends: Counter[str]) -> int:
    """How many files were neither read nor refused in a sentence."""
    return sum(count for end, count in ends.items() if end not in DEALT_WITH.values())


def numbers_until(seconds: float) -> Iterator[int]:
    """0, 1, 2 ... for so long."""
    start = time.monotonic()
    yield from itertools.takewhile(lambda _: time.monotonic() <= start + seconds, itertools.count())


def main() -> None:
    parser = argparse.ArgumentParser(description="Damage real Keras files at random and read them.")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--seconds", type=float, default=60)
    until.add_argument("--files", type=int, default=None, help="stop after so many, however long they take")
    parser.add_argument("--seed", type=int, default=None, help="the same seed damages in the same way")
    parser.add_argument("--keep", type=Path, default=None, help="folder for files that were not dealt with")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else int(time.time())
    numbers = numbers_until(args.seconds) if args.files is None else range(args.files)
    ends, slowest = fuzz(seed, numbers, args.keep)
    bad = not_dealt_with(ends)
    print(f"seed {seed}: {dict(ends)}; slowest {slowest:.2f} s; {bad} not dealt with")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
