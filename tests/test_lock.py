"""One writer a folder: real processes, real kills; what is swept and what never is."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anotwin import lock
from anotwin.errors import DataError
from anotwin.files import atomic_path, write_text_atomic
from anotwin.lock import one_writer

HOLD = """
import sys
from anotwin.files import atomic_path
from anotwin.lock import one_writer
with one_writer(sys.argv[1]), atomic_path(sys.argv[1] + "/half.txt") as temporary:
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Another process that holds the lock and is writing half.txt, and the name of its temporary."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes)  # type: ignore[call-overload]
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, _), pytest.raises(DataError) as caught, one_writer(tmp_path):
        pass
    message = str(caught.value)
    assert f"process {process.pid}" in message
    assert os.uname().nodename in message
    assert "since 20" in message
    assert "choose another --out" in message
    assert "\n" not in message


def test_a_kill_frees_the_folder_and_its_temporary_is_swept(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, temporary):
        with pytest.raises(DataError), one_writer(tmp_path):
            pass
        assert temporary in names(tmp_path)  # of a living process: left alone
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert {temporary, ".anotwin.lock"} <= set(names(tmp_path))
        with one_writer(tmp_path):
            assert names(tmp_path) == [".anotwin.lock"]
    assert names(tmp_path) == []


def test_only_our_temporaries_are_swept_and_only_where_we_write(tmp_path: Path) -> None:
    ours = ".tmp-0123456789abcdef.png"
    foreign = [".tmp-notes", "mine.tmp", ".tmp-0123456789abcdef0", "prepared-my-data.tmp", ".tmp-0123456789abcdeg.png"]
    for folder in (tmp_path, tmp_path / "heatmaps" / "bad", tmp_path / "other"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (ours, *foreign):
            (folder / name).write_text("x")
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (outside / ours).write_text("x")
    (tmp_path / "volumes").symlink_to(outside)
    with one_writer(tmp_path, below=["heatmaps", "volumes", "bscans"]):
        pass
    assert not (tmp_path / ours).exists()
    assert not (tmp_path / "heatmaps" / "bad" / ours).exists()
    assert (tmp_path / "other" / ours).exists()  # not a folder of this writer
    assert (outside / ours).exists()  # behind a link
    for folder in (tmp_path, tmp_path / "heatmaps" / "bad"):
        assert set(foreign) <= set(names(folder))


def test_a_writer_of_one_file_sweeps_its_own_temporaries(tmp_path: Path) -> None:
    left = {}
    for name in ("a.json", "b.json"):
        with atomic_path(tmp_path / name) as temporary:
            left[name] = temporary.name
        (tmp_path / name).unlink()
        (tmp_path / left[name]).write_text("as a kill leaves it")
    with one_writer(tmp_path, file="a.json"), one_writer(tmp_path, file="b.json"):
        pass
    assert names(tmp_path) == []
    for name in ("a.json", "b.json"):
        (tmp_path / left[name]).write_text("again")
    with one_writer(tmp_path, file="a.json"):
        assert names(tmp_path) == sorted([".a.json.lock", left["b.json"]])


def test_nested_in_one_thread_but_not_in_two(tmp_path: Path) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            with one_writer(tmp_path):
                pass
        except DataError as error:
            refused.append(str(error))

    with one_writer(tmp_path):
        with one_writer(tmp_path / "." / ""):
            write_text_atomic(tmp_path / "a", "a")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert (tmp_path / ".anotwin.lock").exists()  # the inner end is not the end
    assert "another thread of this process" in refused[0]
    assert names(tmp_path) == ["a"]
    other()
    assert len(refused) == 1


def test_a_lock_file_that_was_left_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".anotwin.lock").write_text(json.dumps({"pid": 1, "host": "x", "user": "", "began": "2020"}))
    with one_writer(tmp_path):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{", b'{"pid": "x"}'])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path: Path, content: bytes) -> None:
    with holder(tmp_path):
        (tmp_path / ".anotwin.lock").write_bytes(content)
        with pytest.raises(DataError, match="another AnoTwin is writing there"), one_writer(tmp_path):
            pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_descriptor: int, **_more: bool) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "lock_descriptor", none)
    (tmp_path / ".tmp-0123456789abcdef.png").write_text("whose is it?")
    said: list[str] = []
    with one_writer(tmp_path, said.append):
        assert names(tmp_path) == [".tmp-0123456789abcdef.png"]  # nothing tells whether its owner lives
    assert len(said) == 1
    assert "no locks" in said[0]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(DataError, match="denied; choose an --out that you may write to"),
        one_writer(tmp_path),
    ):
        pass


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(DataError, match="cannot write"), one_writer(tmp_path / "out"):
        pass
