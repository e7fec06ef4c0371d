"""SIGTERM and SIGHUP are Ctrl-C; a second one ends at once; workers do not outlive their parent. Real processes."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from anotwin.stopping import Stopped, exit_code, finish_first, stoppable
from anotwin.training.run_folder import RunFolder
from quick import launch, leftovers, sets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
NEVER = sets("training.steps=1000000", "training.snapshot_every=900000", "training.sample_every=900000")


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_training(out: Path) -> bool:
    return any(path.stat().st_size for path in out.glob("runs/*/stats.jsonl"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_step_is_finished_and_its_snapshot_written(
    tmp_path: Path, normal_folder: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "m"
    process = launch("train", normal_folder, "--out", out, *NEVER)
    until(lambda: is_training(out) or process.poll() is not None)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    done = RunFolder.latest(out).last_step()
    assert done >= 20
    assert f"training stopped at step {done} of 1000000" in line
    assert leftovers(out) == []
    assert sorted(path.name for path in out.iterdir()) == ["runs"]


def test_a_terminal_that_closes_loses_no_step(tmp_path: Path, normal_folder: Path) -> None:
    """Nothing can be printed any more: the snapshot is written all the same."""
    out = tmp_path / "m"
    command = [sys.executable, "-m", "anotwin.cli", "train", str(normal_folder), "--out", str(out), *NEVER]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
        os.execv(sys.executable, command)
    os.set_blocking(terminal, False)
    ended: list[int] = []

    def trains() -> bool:
        with suppress(BlockingIOError):
            os.read(terminal, 2**16)  # what it prints must go somewhere
        return is_training(out)

    def has_ended() -> bool:
        done, status = os.waitpid(pid, os.WNOHANG)
        ended.extend([os.waitstatus_to_exitcode(status)] if done else [])
        return bool(ended)

    try:
        until(trains)
        os.close(terminal)  # the kernel sends SIGHUP, and a shell sends it once more
        os.kill(pid, signal.SIGHUP)
        until(has_ended)
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert ended == [129]
    assert RunFolder.latest(out).last_step() >= 20


PROGRAM = """
import signal, sys, time
from anotwin.stopping import Stopped, exit_code, finish_first, stoppable
numbers = [signal.Signals[name] for name in sys.argv[2:]]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts jobs in the background without
def slow():
    with finish_first() as request:
        for number in numbers:
            signal.raise_signal(number)
        print("finished", request.is_set(), flush=True)
        if request.is_set():
            request.stop("said")
try:
    if sys.argv[1] == "command line":
        with stoppable():
            slow()
    else:
        slow()
except KeyboardInterrupt as stop:
    print(type(stop).__name__, str(stop), exit_code(stop))
    raise SystemExit(exit_code(stop))
"""


@pytest.mark.parametrize(
    ("where", "names", "code", "said"),
    [
        ("command line", ["SIGTERM"], 143, "finished True\nStopped said 143\n"),
        ("command line", ["SIGHUP"], 129, "finished True\nStopped said 129\n"),
        ("command line", ["SIGINT"], 130, "finished True\nStopped said 130\n"),
        ("command line", ["SIGTERM", "SIGTERM"], 143, "Stopped  143\n"),  # the second does not wait
        ("command line", ["SIGINT", "SIGTERM"], 143, "Stopped  143\n"),
        ("command line", ["SIGHUP", "SIGHUP"], 129, "finished True\nStopped said 129\n"),  # a terminal says it twice
        ("python", ["SIGTERM"], -15, "finished True\n"),  # ends as it would have, but finished
        ("python", ["SIGTERM", "SIGTERM"], -15, ""),
        ("python", ["SIGINT"], 130, "finished True\nStopped said 130\n"),
        ("python", ["SIGINT", "SIGINT"], 130, "KeyboardInterrupt  130\n"),
        ("python", [], 0, "finished False\n"),
    ],
)
def test_first_and_second_signals(where: str, names: list[str], code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, where, *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, said), done.stderr


def test_what_a_program_handles_or_ignores_stays() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(), finish_first() as request:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert not request.is_set()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignored)


def test_everything_is_as_before_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(Stopped) as caught, stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert exit_code(caught.value) == 143
    assert [signal.getsignal(number) for number in numbers] == before
    seen = []

    def elsewhere() -> None:
        with stoppable(), finish_first():
            seen.append([signal.getsignal(number) for number in numbers])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


SLOW = """
import os, sys, time
import numpy as np
from anotwin.prepare.stream import Parts, in_processes
class Slow(Parts):
    def __len__(self):
        return 100
    def __getitem__(self, number):
        open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
        time.sleep(0.2)
        return number
if __name__ == "__main__":
    import anotwin.prepare.stream as stream
    stream.cores = lambda: 2
    for number in in_processes(Slow(), 2, "there"):
        print(number, flush=True)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc for children")
def test_workers_and_their_server_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    script, mark = tmp_path / "slow.py", tmp_path / "workers"
    mark.mkdir()
    script.write_text(SLOW)
    process = subprocess.Popen([sys.executable, str(script), str(mark)], stdout=subprocess.DEVNULL)
    until(lambda: len(list(mark.iterdir())) == 2 or process.poll() is not None)
    workers = [int(path.name) for path in mark.iterdir()]
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(workers) == 2
    assert children  # the fork server and the tracker of resources
    assert all(map(is_alive, [*workers, *children]))
    process.kill()
    process.wait()
    try:
        until(lambda: not any(map(is_alive, [*workers, *children])), seconds=30)
    finally:
        for pid in filter(is_alive, workers):
            os.kill(pid, signal.SIGKILL)
