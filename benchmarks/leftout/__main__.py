"""Choosing without labels: does twin find planted anomalies of kinds that its training never saw?

Normals held out of training against the same normals damaged, and against letters (see `letters`). In each fold some
kinds of damage are left out of what the discriminator learns to name; only those and the letters count as unseen. This
is what settings are chosen by: no image of another class and no test image is used. Planted damage leaves traces
(seams, blur) that a real anomaly does not: letters, which have none, are the harder test and the better guide.

    python benchmarks/leftout --normal 8 --json leftout.json
    python benchmarks/leftout --normal 8 --set networks.latent_dim=64
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import Detector, Settings
from anotwin.commands import showing
from anotwin.defects.whole import KINDS, damage
from anotwin.detector import Update, Watch
from anotwin.prepare.resize import to_model
from anotwin.records import Batch
from anotwin.run.batch import score_batch
from anotwin.seeding import generator
from benchmarks.common.images import Images, find_or_bundled, members
from benchmarks.common.rows import Cell, Report, Row
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.leftout.letters import letters

NAME = "leftout"
METHOD = "twin"
FOLDS = (("joined", "pasted"), ("turned", "warped", "stretched"), ("shuffled", "blended", "erased"))
TERMS = {"anomaly": "A", "residual": "R", "discrimination": "D", "discriminator": "P_D"}
AT_ONCE = 256
LETTERS = 1000

Scores = dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]


def benchmark(arguments: argparse.Namespace) -> None:
    """Every digit and fold; what each says of the kinds left out, and their mean."""
    images, settings = find_or_bundled(arguments), Settings().with_overrides(asked(arguments))
    folds = FOLDS[:1] if arguments.quick else FOLDS
    print_head(
        "Planted anomalies of kinds never seen",
        {
            "data": f"{images.name}, training normals of {', '.join(arguments.normal)}; no test image",
            "protocol": f"{METHOD}, {settings.training.steps} steps; held-out normals, as they are and damaged",
            "settings": ", ".join(asked(arguments)) or "the defaults of anotwin train",
            "seeds": f"training {settings.training.seed}, damage 0",
        },
    )
    report = Report(arguments.json)
    for normal in arguments.normal:
        for fold in folds:
            with showing.bars() as watch:
                rows = measure(images, normal, fold, settings, arguments.device, watch)
            report.add(rows)
            report.show(rows)
    report.close()


def measure(
    images: Images, normal: str, fold: Sequence[str], settings: Settings, device: str, watch: Watch
) -> list[Row]:
    """One training without the kinds in `fold`: AUROC of each and their mean, and of letters; for every term."""
    source = images.training(normal)
    planted = [kind for kind in KINDS if kind not in fold]
    own = settings.with_overrides([f'data.normal="{normal}"', f"training.damage={planted}"])
    watch(Update("note", detail=f"normal={normal}, without {', '.join(fold)}"))
    detector = Detector.train(source, method=METHOD, settings=own, device=device, watch=watch)
    chosen = members(detector, source, "holdout")
    normals = torch.stack([to_model(source.read(index), detector.method.spec)[0] for index in chosen])
    unharmed = scores(detector, normals)
    drawn = letters(40 if settings.training.steps < 100 else LETTERS)
    foreign = scores(detector, torch.stack([to_model(letter, detector.method.spec)[0] for letter in drawn]))
    rows: list[Row] = []
    for name, term in TERMS.items():
        cell, values = Cell(NAME, f"normal={normal}, without {'+'.join(fold)}", f"{METHOD} {term}"), []
        for kind in fold:
            harmed = scores(detector, damage(normals, generator(0, "leftout", kind), [kind])[0])
            truth = np.repeat([False, True], len(normals))
            rows.append(cell.auroc(f"auroc_{kind}", truth, np.concatenate([unharmed[name], harmed[name]])))
            values.append(rows[-1].value)
        rows.append(cell.row("auroc_mean", float(np.mean(values))))
        truth = np.repeat([False, True], (len(normals), len(drawn)))
        rows.append(cell.auroc("auroc_letters", truth, np.concatenate([unharmed[name], foreign[name]])))
    return rows


def scores(detector: Detector, images: torch.Tensor) -> Scores:
    """Each term for images (N, C, S, S)."""
    parts = []
    for part in torch.split(images, AT_ONCE):
        comparison = score_batch(detector.method, Batch(part, tuple(range(len(part)))))[1]
        parts.append({name: getattr(comparison.scores, name).double().cpu().numpy() for name in TERMS})
    return {name: np.concatenate([part[name] for part in parts]) for name in TERMS}


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__))
    parser.add_argument("--normal", nargs="+", default=["8"], metavar="D", help="normal digits, one after another")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
