"""Whether a stopped run can be resumed: with the same images and settings, but for those that change no weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anotwin.errors import SettingsError
from anotwin.settings import Settings
from anotwin.training.run_folder import RunFolder

RESUMABLE = {  # settings that a resumed run may change
    ("training", "steps"),
    ("training", "snapshot_every"),
    ("training", "sample_every"),
    ("data", "workers"),
    ("data", "memory_mb"),
    ("data", "abnormal_images"),  # where they lie; which they are is in the hash of images
}


MACHINE = {  # what the last bits of a training depend on besides images and settings, and how to have it again
    "torch": "torch",
    "threads": "threads (OMP_NUM_THREADS)",
    "device": "the device (--device)",
    "precision": "the precision (training.precision)",
    "instructions": "the processor's instructions",
}


def open_run(
    model: Path, method: str, description: dict[str, Any], resume: bool, say: Callable[[str], object] = lambda _: None
) -> RunFolder:
    """A new run below `model`, or with `resume` the last one; raises SettingsError if its description differs too much.

    `description` is what run.json holds: method, spec, settings, images (a hash), and the machine, of which `say` is
    told in a sentence where it differs.
    """
    if not resume:
        return RunFolder.create(model, method, description)
    run = RunFolder.latest(model)
    before = run.description()
    settings_before = Settings.parse(before.get("settings", {}), where=str(run.path / "run.json"))  # new keys: defaults
    if before.get("images") != description["images"]:
        raise SettingsError(f"{run.path}: trained on other images than DATA holds; start a new run without --resume")
    for section in ("data", "networks", "training", "translation"):
        for key, value in description["settings"].get(section, {}).items():
            old = getattr(getattr(settings_before, section), key)
            if old != value and (section, key) not in RESUMABLE:
                raise SettingsError(
                    f"{run.path}: {section}.{key} was {old!r} and is now {value!r}; a resumed run keeps it "
                    "(training.steps may grow), or start a new run without --resume"
                )
    if before.get("spec") != description["spec"]:
        old_spec = before["spec"] if isinstance(before.get("spec"), dict) else {}
        changed = {key: value for key, value in description["spec"].items() if old_spec.get(key) != value}
        kinds = ", ".join(f"{key} was {old_spec.get(key)!r} and is {value!r}" for key, value in changed.items())
        raise SettingsError(f"{run.path}: DATA now holds other images ({kinds}); start a new run without --resume")
    steps, done = description["settings"]["training"]["steps"], run.last_step()
    if steps < done:
        raise SettingsError(f"{run.path}: {done} steps are done already, got training.steps {steps}; ask for more")
    _tell(run, before, description, done, say)
    run.describe(description)
    return run


def _tell(run: RunFolder, before: dict[str, Any], now: dict[str, Any], done: int, say: Callable[[str], object]) -> None:
    """What makes this training another one than it would have been without the stop."""
    changed = [
        f"{name} was {before[key]} and is {now[key]}"
        for key, name in MACHINE.items()
        if key in before and key in now and before[key] != now[key]
    ]
    if changed:
        say(f"{run.path}: {', '.join(changed)}: its weights will not be to the last bit those of an unstopped training")
    found, whole = run.snapshots(), run.snapshot_path(done)
    damaged = [path.name for path in (found[found.index(whole) + 1 :] if whole in found else found)]
    if damaged:
        begin = f"from step {done}" if done else "from the beginning: no other snapshot is whole"
        say(f"{run.path}: {', '.join(damaged)} cannot be read or was altered; training goes on {begin}")
