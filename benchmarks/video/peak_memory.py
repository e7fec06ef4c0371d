"""A process of its own: ``anotwin score MODEL VIDEO``, and its peak memory.

python peak_memory.py MODEL VIDEO OUT DEVICE     prints MiB after the last frame, and after all is written, as JSON
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from anotwin.threads import share_the_machine


def main(model: str, video: str, out: str, device: str) -> None:
    """Score and print; `resource` counts KiB, on macOS bytes."""
    share_the_machine()  # before torch is loaded
    from anotwin import Detector
    from anotwin.commands.scoring import score_folder
    from anotwin.updates import Update

    unit = 2**20 if sys.platform == "darwin" else 2**10
    peaks: list[float] = []

    def watch(update: Update) -> None:
        if update.stage == "scoring" and update.done == update.total:
            peaks.append(peak())

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

    score_folder(Detector.load(model, device), Path(video), Path(out), "auto", True, watch)
    print(json.dumps([*peaks, peak()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
