"""Numbered runs, statistics and snapshots, as kills and strangers leave them."""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from anotwin import files
from anotwin.errors import DataError, SettingsError
from anotwin.training.run_folder import RunFolder, list_runs


class Bomb:
    """What unpickles as a call of os.mkdir."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "anogan", {"a": 1})


def _state(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((1000,), value)}


def test_runs_are_numbered_upwards_whatever_lies_beside_them(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, "anogan", {}).path.name == "00000-anogan"
    assert RunFolder.create(tmp_path, "acae", {}).path.name == "00001-acae"
    (tmp_path / "runs" / "00041-anogan").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "99999-file").write_text("no folder")
    assert RunFolder.create(tmp_path, "anogan", {}).path.name == "00042-anogan"
    assert [run.path.name[:5] for run in list_runs(tmp_path)] == ["00000", "00001", "00041", "00042"]


def test_the_latest_run_is_the_newest_with_a_description(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "anogan", {"a": 1})
    (tmp_path / "runs" / "00005-anogan").mkdir()  # killed before run.json was there
    assert RunFolder.latest(tmp_path).description() == {"a": 1}


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no training run to resume"):
        RunFolder.latest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00"])
def test_a_damaged_description_is_said(run: RunFolder, text: str) -> None:
    (run.path / "run.json").write_text(text)
    with pytest.raises(SettingsError, match=r"run\.json.*start a new run without --resume"):
        run.description()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(DataError, match="cannot create"):
        RunFolder.create(tmp_path, "anogan", {})


def test_statistics_read_back_without_the_line_that_a_kill_cut(run: RunFolder) -> None:
    rows = [{"step": 20 * k, "seconds": 1.5 * k, "loss_d": 0.5} for k in (1, 2, 3)]
    for row in rows:
        run.log(row)
    with (run.path / "stats.jsonl").open("ab") as file:
        file.write(b'\xff\x00\n[1]\n{"seconds": 3}\n{"step": 80, "secon')
    assert run.stats() == rows


def test_statistics_of_later_steps_are_forgotten_for_good(run: RunFolder) -> None:
    for k in (1, 2, 3):
        run.log({"step": 20 * k, "seconds": 1.5 * k})
    with (run.path / "stats.jsonl").open("a") as file:
        file.write('{"step": 80')  # no line break: the next line would be glued to it
    assert run.forget_after(40) == 3.0
    run.log({"step": 60, "seconds": 9.0})
    lines = (run.path / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 40, 60]
    assert run.forget_after(0) == 0.0
    assert run.stats() == []


def test_a_snapshot_comes_back_and_only_two_are_kept(run: RunFolder) -> None:
    assert run.load_snapshot() is None
    assert run.last_step() == 0
    for step in (5, 10, 1_000_000, 1_000_005):  # more digits than the name has room for: sorted as numbers
        run.save_snapshot(step, _state(step))
    assert [path.name for path in run.snapshots()] == ["snapshot-1000000.pt", "snapshot-1000005.pt"]
    loaded = run.load_snapshot()
    assert loaded is not None
    step, state = loaded
    assert step == run.last_step() == 1_000_005
    assert torch.equal(state["weight"], _state(1_000_005)["weight"])


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "text", "list", "half"])
def test_an_unreadable_snapshot_gives_way_to_the_one_before(run: RunFolder, damage: str) -> None:
    for step in (1, 2):
        run.save_snapshot(step, _state(step))
    newest = run.snapshot_path(2)
    content = newest.read_bytes()
    if damage == "list":
        torch.save([1, 2], newest)
    else:
        half = len(content) // 2
        newest.write_bytes(
            {
                "empty": b"",
                "cut": content[:half],
                "noise": bytes(range(256)) * 40,
                "text": b"not a snapshot",
                "half": content[half:],
            }[damage]
        )
    loaded = run.load_snapshot()
    assert loaded is not None
    assert loaded[0] == 1
    assert torch.equal(loaded[1]["weight"], _state(1)["weight"])


def test_code_in_a_snapshot_does_not_run(run: RunFolder, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    run.save_snapshot(1, _state(1))
    torch.save({"step": 3, "state": Bomb(mark)}, run.snapshot_path(3))  # in torch's own format
    run.snapshot_path(2).write_bytes(pickle.dumps({"step": 2, "state": Bomb(mark)}, protocol=2))
    assert run.last_step() == 1
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))  # the charge is live
    assert mark.is_dir()


def test_a_full_disk_leaves_the_old_snapshots(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.save_snapshot(1, _state(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(DataError, match=r"snapshot-000002.*free space"):
        run.save_snapshot(2, _state(2))
    assert sorted(path.name for path in run.path.iterdir()) == ["run.json", "snapshot-000001.pt"]
