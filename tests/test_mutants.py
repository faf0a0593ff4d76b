"""The list of mistakes fits the sources: each text stands there once, so that each mistake can be made."""

import sys

from helpers import ROOT

sys.path.insert(0, str(ROOT))

from scripts.trust.mutant_list import MUTANTS
from scripts.trust.mutants import GROUPS, mutated


def test_each_mistake_can_be_made():
    for mutant in MUTANTS:
        text = (ROOT / "fastlrp" / mutant.file).read_text(encoding="utf-8")
        assert compile(mutated(text, mutant), mutant.file, "exec"), mutant.why


def test_there_are_many_and_no_two_are_the_same():
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 100
    assert {name for mutant in MUTANTS for name in mutant.groups} == set(GROUPS)
