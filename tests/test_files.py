"""Files are whole or absent; what an error says; strict JSON against Python's own parser."""

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.errors import DataError
from anotwin.files import (
    atomic_path,
    check_writable,
    move,
    parse_json,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)

quick = settings(derandomize=True, deadline=None, max_examples=60)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on the way" / "b.bin"
    write_bytes_atomic(target, b"\0\r\n\xff" * 1000)
    assert target.read_bytes() == b"\0\r\n\xff" * 1000
    write_text_atomic(str(target), "ä\r\n\n")
    assert target.read_bytes() == "ä\r\n\n".encode()
    assert names(target.parent) == ["b.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_any_exception_keeps_the_old_file_and_removes_the_temporary_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == target.parent
            assert temporary.suffix == ".png"
            assert target.read_text() == "old"
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.png"]


def test_a_block_may_replace_or_drop_its_temporary_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as temporary:
        temporary.unlink()
        temporary.write_text("new inode")
    assert (tmp_path / "a").read_text() == "new inode"
    with pytest.raises(DataError, match=r"cannot write .*b: No such file"), atomic_path(tmp_path / "b") as temporary:
        temporary.unlink()
    assert names(tmp_path) == ["a"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_synced_before_the_move_and_the_folder_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_move(source: Path, target: Path) -> None:
        calls.append("move")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_move)
    write_text_atomic(tmp_path / "a", "x")
    assert calls == ["file", "move", "folder"]
    move(tmp_path / "a", tmp_path / "b")
    assert calls[3:] == ["move", "folder"]
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free space or choose another --out"),
        (errno.EDQUOT, "free space or choose another --out"),
        (errno.EROFS, "Read-only file system; choose an --out that you may write to"),
        (errno.EACCES, "Permission denied; choose an --out that you may write to"),
        (errno.EIO, "choose another --out"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str, call: str
) -> None:
    write_text_atomic(tmp_path / "a.csv", "old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DataError) as caught:
        write_text_atomic(tmp_path / "a.csv", "new")
    monkeypatch.undo()
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'a.csv'}: {os.strerror(number)}; ")
    assert str(caught.value).endswith(advice)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a.csv").read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        check_writable(disk)
        write_bytes_atomic(disk / "a", bytes(20_000))
        with pytest.raises(
            DataError, match=r"cannot write .*/a: No space left on device; free space or choose another"
        ):
            write_bytes_atomic(disk / "a", bytes(100_000))
        assert (disk / "a").read_bytes() == bytes(20_000)
        assert names(disk) == ["a"]
        write_bytes_atomic(disk / "b", bytes(45_056))  # 64 KiB less five pages of a
        with pytest.raises(DataError, match=r"cannot write .*/disk: No space left on device; free space"):
            check_writable(disk)
        assert names(disk) == ["a", "b"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for target, reason in {
        "file/a.csv": "a part of the path is a file",
        "file/deep/a.csv": "a part of the path is a file",
        "a" * 300: "File name too long; choose a shorter --out",
        "folder": "not a regular file",
        "pipe": "not a regular file",
        "nul\0": "NUL",
    }.items():
        with pytest.raises(DataError, match=reason) as caught:
            write_text_atomic(tmp_path / target, "x")
        assert str(caught.value).startswith("cannot write ")
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder", "pipe"]
    write_text_atomic(tmp_path / ("a" * 255), "the longest name there is")
    assert len(names(tmp_path)) == 4


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(DataError, match="not a regular file"):
        write_text_atomic("/dev/null", "x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_errors_about_other_files_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_path(tmp_path / "a"):
        (tmp_path / "input").read_bytes()
    assert names(tmp_path) == []


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []
    check_writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot write .*file: .*a part of the path is a file"):
        check_writable(tmp_path / "file")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*b: No space left on device; free space"):
        check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


@quick
@given(JSON)
def test_json_reads_back_and_agrees_with_the_reference_parser(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_json_atomic(path, value)
    data = path.read_bytes()
    assert parse_json(data) == json.loads(data) == value


def test_json_keeps_the_order_of_keys_and_indents_by_one(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a", {"z": 1, "a": [2]})
    assert (tmp_path / "a").read_text() == '{\n "z": 1,\n "a": [\n  2\n ]\n}\n'


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), ([float("-inf")], ValueError), ({1j}, TypeError)]
)
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path, value: object, error: type[Exception]) -> None:
    write_json_atomic(tmp_path / "a", 1)
    with pytest.raises(error):
        write_json_atomic(tmp_path / "a", value)
    assert parse_json((tmp_path / "a").read_bytes()) == 1
    assert names(tmp_path) == ["a"]


def test_file_names_that_are_not_unicode_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")  # a lone surrogate
    write_json_atomic(tmp_path / "a", {"id": name})
    assert parse_json((tmp_path / "a").read_bytes()) == {"id": name}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', r"not UTF-8 text \(byte 7\)"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"NaN", "the number NaN is not finite"),
        (b"[-Infinity]", "-Infinity is not finite"),
        (b"[1e999]", "1e999 is not finite"),
        (b'{"a": 1, "b": 2, "a": 1}', "key 'a' occurs twice"),
        (b'[{"x": {"a": 1, "a": 1}}]', "key 'a' occurs twice"),
        (b'{"' + b"k" * 2000 + b'": 1}', "key of 2000 characters"),
        (b"1" * 5000, "integer of 5000 digits"),
        (b"[" * 65 + b"]" * 65, "nested more than 64"),
        (b"[" * 200_000, "nested more than 64"),
        (b'{"a":' * 100_000, "nested more than 64"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested more than 64"),
    ],
)
def test_strict_json_refuses(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_strict_json_takes_64_levels() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64) == json.loads("[" * 64 + "]" * 64)
