"""A bit flipped anywhere in what a training keeps: never other weights, always a word, and the snapshot before."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from anotwin.errors import SettingsError
from anotwin.training.resume import open_run
from anotwin.training.run_folder import RunFolder

STRIDE = 13  # bytes; every bit of a byte comes along


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "anogan", {"a": 1, "settings": {"ümlaut\udcff": [0.1, True, None]}})


def state(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((50,), float(value)), "steps": torch.tensor(3)}


def flip(path: Path, place: int, bit: int) -> bytes:
    """Flip one bit; the content before."""
    content = path.read_bytes()
    path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
    return content


def test_a_flipped_bit_anywhere_in_a_snapshot_falls_back_to_the_one_before(run: RunFolder) -> None:
    for step in (1, 2):
        run.save_snapshot(step, state(step))
    newest = run.snapshot_path(2)
    for number, place in enumerate(range(0, newest.stat().st_size, STRIDE)):
        before = flip(newest, place, number % 8)
        loaded = run.load_snapshot()
        assert loaded is not None
        assert loaded[0] == 1, place
        assert torch.equal(loaded[1]["weight"], state(1)["weight"])
        newest.write_bytes(before)
    assert run.last_step() == 2


def test_a_snapshot_that_grew_or_shrank_falls_back(run: RunFolder) -> None:
    for step in (1, 2):
        run.save_snapshot(step, state(step))
    content = run.snapshot_path(2).read_bytes()
    for other in (content[:-1], content + b"\0", content[1:], b"\n" + content, content[:100], content * 2):
        run.snapshot_path(2).write_bytes(other)
        assert run.last_step() == 1


def test_snapshots_of_earlier_versions_are_read_if_their_check_sums_are_right(run: RunFolder) -> None:
    for step in (1, 2):
        torch.save({"step": step, "state": state(step)}, run.snapshot_path(step))
    assert run.last_step() == 2
    newest = run.snapshot_path(2)
    with zipfile.ZipFile(newest) as archive:
        entry = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
    start = newest.read_bytes().index(bytes(state(2)["weight"].numpy().tobytes()))
    assert entry.file_size == 200
    for place in range(start, start + entry.file_size, STRIDE):
        before = flip(newest, place, 5)
        plain = torch.load(io.BytesIO(newest.read_bytes()), weights_only=True)
        assert not torch.equal(plain["state"]["weight"], state(2)["weight"])  # torch alone does not notice
        assert run.last_step() == 1
        newest.write_bytes(before)


def test_damaged_later_snapshots_do_not_push_out_whole_ones(run: RunFolder) -> None:
    for step in (10, 20, 30):
        run.save_snapshot(step, state(step))
    flip(run.snapshot_path(30), 500, 0)
    assert run.last_step() == 20
    run.save_snapshot(25, state(25))
    assert [path.name for path in run.snapshots()] == [f"snapshot-0000{step}.pt" for step in (20, 25, 30)]
    flip(run.snapshot_path(25), 500, 0)
    assert run.last_step() == 20


def test_a_flipped_bit_anywhere_in_run_json_is_refused_or_changes_nothing(run: RunFolder) -> None:
    path, expected = run.path / "run.json", run.description()
    refused: list[str] = []
    for place in range(path.stat().st_size):
        for bit in range(0, 8, 3):
            before = flip(path, place, bit)
            try:
                found = run.description()
            except SettingsError as error:
                refused.append(str(error))
            else:  # white space, or the name of the hash itself
                assert {key: value for key, value in found.items() if key in expected} == expected
            path.write_bytes(before)
    assert len(refused) > 2 * path.stat().st_size
    assert all("start a new run without --resume" in message and "\n" not in message for message in refused)


def test_a_description_without_a_hash_is_an_earlier_versions(run: RunFolder) -> None:
    (run.path / "run.json").write_text('{"a": 1}')
    assert run.description() == {"a": 1}


@pytest.mark.parametrize(
    "line",
    [
        '{"step": "20", "seconds": 1}',
        '{"step": 20.5}',
        '{"step": true}',
        '{"step": null}',
        "[" * 100_000,
        '{"seconds": 4}',
    ],
)
def test_odd_lines_of_statistics_are_left_out(run: RunFolder, line: str) -> None:
    run.log({"step": 10, "seconds": 2.5})
    with (run.path / "stats.jsonl").open("a") as file:
        file.write(line + "\n")
    assert run.forget_after(100) == 2.5
    assert [row["step"] for row in run.stats()] == [10]


@pytest.mark.parametrize("seconds", ["x", None, -1, True, float("inf"), float("nan"), [1]])
def test_odd_seconds_are_none(run: RunFolder, seconds: object) -> None:
    run.log({"step": 10, "seconds": seconds})
    assert run.forget_after(100) == 0.0


def described(**machine: object) -> dict[str, object]:
    settings = {"data": {}, "networks": {}, "training": {"steps": 50}}
    return {"method": "anogan", "spec": {}, "settings": settings, "images": "x"} | machine


def test_another_machine_is_said_on_resume(tmp_path: Path) -> None:
    """Threads, torch, device, precision and instructions change the last bits."""
    before = {"threads": 4, "torch": "2.4", "device": "cpu", "precision": "32-true", "instructions": "AVX2"}
    run = open_run(tmp_path, "anogan", described(**before), resume=False)
    run.save_snapshot(10, state(1))
    said: list[str] = []
    open_run(tmp_path, "anogan", described(**before), True, said.append)
    assert said == []
    now = {"threads": 2, "torch": "2.13", "device": "H100", "precision": "bf16-mixed", "instructions": "AVX512"}
    open_run(tmp_path, "anogan", described(**now), True, said.append)
    (note,) = said
    for key in before:
        assert f"was {before[key]} and is {now[key]}" in note
    assert "not be to the last bit" in note
    assert json.loads((run.path / "run.json").read_text())["threads"] == 2
    said.clear()
    open_run(tmp_path, "anogan", described(), True, said.append)  # nothing known: nothing to compare
    assert said == []


def test_a_damaged_snapshot_is_said_on_resume(tmp_path: Path) -> None:
    run = open_run(tmp_path, "anogan", described(), resume=False)
    for step in (10, 20):
        run.save_snapshot(step, state(step))
    said: list[str] = []
    flip(run.snapshot_path(20), 300, 1)
    open_run(tmp_path, "anogan", described(), True, said.append)
    assert "snapshot-000020.pt cannot be read or was altered; training goes on from step 10" in said[0]
    flip(run.snapshot_path(10), 300, 1)
    open_run(tmp_path, "anogan", described(), True, said.append)
    assert "snapshot-000010.pt, snapshot-000020.pt" in said[1]
    assert "from the beginning" in said[1]
