"""Injected faults in small; `python benchmarks/reliability` is the large run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability.commands import Outcome
from benchmarks.reliability.kills import Counted

ROOT = Path(__file__).parents[2]
# in a process of its own: commands run in forks of it, and threads of this one would not survive those
RUN = """
import sys
from pathlib import Path
from benchmarks.reliability.__main__ import PARTS
bad = False
for counted in PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])):
    print(counted.kind, counted.survived, counted.tried, flush=True)
    for line in (*counted.tracebacks, *counted.wrong):
        bad = True
        print(ascii(line), flush=True)
sys.exit(bad)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("part", "most"), [("kills", 3), ("flips", 3), ("hostile", 100)])
def test_every_injected_fault_is_survived(part, most, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "ignore", "-c", RUN, part, str(tmp_path), str(most)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert len(done.stdout.splitlines()) >= 4


def test_how_an_outcome_is_judged():
    """What the numbers of the benchmark rest on."""
    assert Outcome(2, "note\nerror: no such file\n").refused
    assert not Outcome(0, "error: but went on\n").refused
    crashed = Outcome(1, "Traceback (most recent call last):\n  File\nKeyError: 3\nerror: x")
    assert crashed.traceback
    assert not crashed.refused
    counted = Counted("a kind")
    counted.add("a", Outcome(0, ""), True)
    counted.add("b", Outcome(0, "other scores"), False)
    counted.add("c", crashed, True)
    assert (counted.tried, counted.survived, len(counted.wrong), len(counted.tracebacks)) == (3, 1, 1, 1)
