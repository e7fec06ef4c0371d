"""The cores that this process may use, by made-up trees of cgroups; the wait policy, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anotwin import threads
from anotwin.threads import cores, share_the_machine


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_affinity", lambda: 8)


def tree(root: Path, cgroup: str, **files: str) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup below `root`; `__` stands for / in names of files."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "proc", root / "cgroup"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu_dot_max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu_dot_max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu_dot_max": "350000 100000\n"}, 3),  # whole cores
        ("0::/\n", {"cpu_dot_max": "20000 100000\n"}, 1),  # at least one
        ("0::/\n", {"cpu_dot_max": "3200000 100000\n"}, 8),  # more than there are
        (
            "0::/a/b\n",
            {"a__cpu_dot_max": "300000 100000\n", "a__b__cpu_dot_max": "max 100000\n"},
            3,
        ),  # from above
        ("0::/not/seen/from/here\n", {"cpu_dot_max": "400000 100000\n"}, 4),  # a container's path is the host's
        ("1:cpu:/\n0::/\n", {"cpu__cpu.cfs_quota_us": "500000\n", "cpu__cpu.cfs_period_us": "100000\n"}, 5),
        ("1:cpu:/\n0::/\n", {"cpu__cpu.cfs_quota_us": "-1\n", "cpu__cpu.cfs_period_us": "100000\n"}, 8),
        (
            "4:cpu,cpuacct:/x\n",
            {"cpu,cpuacct__x__cpu.cfs_quota_us": "200000\n", "cpu,cpuacct__x__cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("3:cpuset:/\n", {"cpuset__cpu.cfs_quota_us": "100000\n", "cpuset__cpu.cfs_period_us": "100000\n"}, 8),
        ("garbage\n\n:::::\n", {"cpu_dot_max": "a b c\n"}, 8),
        ("0::/\n", {"cpu_dot_max": "100000 0\n"}, 8),
        ("0::/../..\n", {"cpu_dot_max": "100000 100000\n"}, 1),
    ],
)
def test_quotas_of_cgroups(tmp_path: Path, cgroup: str, files: dict[str, str], expected: int) -> None:
    assert cores(*tree(tmp_path, cgroup, **files)) == expected


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert cores(tmp_path, tmp_path) == 8


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    alone: dict[str, str] = {}
    share_the_machine(alone)
    assert alone == {
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "20000",
        "KMP_BLOCKTIME": "0",
        "OMP_NUM_THREADS": "3",
    }
    for name, value in (("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "7"), ("KMP_BLOCKTIME", "200")):
        chosen = {name: value, "OMP_NUM_THREADS": "5"}
        share_the_machine(chosen)
        assert chosen == {name: value, "OMP_NUM_THREADS": "5"}


def test_without_a_quota_the_number_of_threads_is_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 8)
    found: dict[str, str] = {}
    share_the_machine(found)
    assert "OMP_NUM_THREADS" not in found


SHOW = """
import os, sys
{begin}
import torch
print(os.environ.get("OMP_WAIT_POLICY"), torch.get_num_threads())
"""


def shown(begin: str, **environment: str) -> list[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))
    }
    command = [sys.executable, "-c", SHOW.format(begin=begin)]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.split()


def test_the_library_changes_nothing_and_the_command_line_lets_threads_sleep() -> None:
    import_only = "import anotwin, anotwin.cli, anotwin.threads"
    command = (
        "from anotwin import cli\n"
        "cli._run = lambda _: 0\n"
        "sys.exit = lambda _: None\n"
        "cli.main(['info', 'm'])\n"
        "assert 'torch' not in sys.modules"
    )
    assert shown(import_only)[0] == "None"
    assert shown(command)[0] == "PASSIVE"
    assert shown(command, OMP_WAIT_POLICY="ACTIVE")[0] == "ACTIVE"
    assert shown(command, OMP_NUM_THREADS="1")[1] == "1"
