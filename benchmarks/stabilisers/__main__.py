"""What each stabiliser of the DCGAN does to the counterparts, judged from normal images alone.

Method anogan with the paper's search, trained for 4,000 steps in float32 unless --steps says otherwise.
No label is used: a generator is judged by how closely the search comes to normals that it never saw (lower is
better), by telling these from themselves with a planted defect (AUROC, higher is better), and by the diversity and
coverage of its samples.

    python benchmarks/stabilisers --seeds 0 1 --json stabilisers.json
    python benchmarks/stabilisers --variants bn --search-rates 0.01 0.03 0.1 --widths 16 32
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import DataError, Detector, Finding, Settings, SettingsError, TrainingDiverged
from anotwin.commands import showing
from anotwin.data.arrays import from_arrays
from anotwin.data.synthetic import plant_blob
from anotwin.records import ImageSource
from anotwin.seeding import derive
from anotwin.training.run_folder import RunFolder
from benchmarks.common.images import Images, column, find_or_bundled, members, score
from benchmarks.common.rows import Cell, Report, Row, console, over_seeds
from benchmarks.common.script import PAPER, asked, options, print_head, run

NAME = "stabilisers"
METHOD = "anogan"
HELD_OUT = 128
LAST = 0.1  # share of the logged steps whose losses are averaged: a single one says little
TRIALS = 16  # places tried for a pasted patch; the one that changes most is taken, since black on black is no defect
DEFAULT = "bn"
VARIANTS: dict[str, tuple[str, ...]] = {
    "bn": (),
    "bn-no-ema": ("training.ema=0.0",),
    "bn-r1-0.01": ("training.r1_gamma=0.01",),
    "r1-1": ("networks.discriminator_norm=none", "training.r1_gamma=1.0"),
    "r1-0.1": ("networks.discriminator_norm=none", "training.r1_gamma=0.1"),
    "spectral": ("networks.discriminator_norm=spectral",),
}
MEANING = {
    "bn": "batch norm in D, moving average of G: the default",
    "bn-no-ema": "batch norm, the last generator",
    "bn-r1-0.01": "batch norm and R1 0.01",
    "r1-1": "R1 1.0, no norm",
    "r1-0.1": "R1 0.1, no norm",
    "spectral": "spectral norm",
}

Pictures = npt.NDArray[np.uint8]


def benchmark(arguments: argparse.Namespace) -> None:
    """All variants, widths and seeds; a case is one training."""
    images = find_or_bundled(arguments)
    base = settings_of(arguments)
    if arguments.search_rates and DEFAULT not in arguments.variants:
        raise SettingsError(f"--search-rates are compared on the variant {DEFAULT}; add it to --variants")
    rates = arguments.search_rates or [base.search.learning_rate]
    print_head(
        "Stabilisers of the DCGAN",
        {
            "data": f"{images.name}, normal = {arguments.normal}, training part alone; at most {HELD_OUT} held out",
            "protocol": f"method {METHOD}, {base.training.steps} training steps; search of {base.search.steps} steps "
            f"with Adam at {base.search.learning_rate:g} ({DEFAULT}: {', '.join(f'{rate:g}' for rate in rates)})",
            "variants": "; ".join(f"{name} = {MEANING[name]}" for name in arguments.variants),
            "widths": ", ".join(map(str, arguments.widths or [base.networks.width_for(False)])),
            "seeds": f"training {', '.join(map(str, arguments.seeds))}; search, defects and bootstrap 0",
        },
    )
    report = Report(arguments.json)
    for width in arguments.widths or [base.networks.width_for(False)]:
        for variant in arguments.variants:
            own = base.with_overrides([*VARIANTS[variant], f"networks.base_channels={width}"])
            case = f"normal={arguments.normal}, width={width}"
            searched = rates if variant == DEFAULT else [own.search.learning_rate]
            runs = []
            for seed in arguments.seeds:
                seeded = own.with_overrides([f"training.seed={seed}"])
                console.print(f"\n[bold]{variant}[/], {case}, seed={seed}")
                rows = measure(images, f"{case}, seed={seed}", variant, seeded, searched, arguments.device)
                report.add(rows)
                report.show(rows)
                runs.append(rows)
            if len(runs) > 1:
                summary = over_seeds(runs, case)
                report.add(summary)
                report.show(summary)
    report.close()


def measure(
    images: Images, case: str, variant: str, settings: Settings, rates: Sequence[float], device: str
) -> list[Row]:
    """One training, and the search at each rate."""
    source = images.training(str(settings.data.normal))
    cell = Cell(NAME, case, variant)
    hasty = settings.with_overrides(["search.steps=0"])  # its calibration is not needed
    with tempfile.TemporaryDirectory(prefix="anotwin-") as folder, showing.bars() as watch:
        try:
            detector = Detector.train(source, folder, method=METHOD, settings=hasty, device=device, watch=watch)
        except TrainingDiverged as error:
            console.print(str(error), markup=False)
            return [cell.row("diverged", 1.0)]
        rows = training_rows(cell, detector, Path(folder))
        heldout = members(detector, source, "holdout")[:HELD_OUT]
        normals = np.stack([source.read(index) for index in heldout])
        probe, kinds = planted(normals)
        everything = range(len(probe.items))
        for rate in rates:
            method = variant if len(rates) == 1 else f"{variant}, search rate {rate:g}"
            searching = detector.with_settings(settings.with_overrides([f"search.learning_rate={rate!r}"]))
            findings, seconds = score(searching, probe, everything, watch)
            rows += search_rows(Cell(NAME, case, method), findings, kinds)
            rows.append(Cell(NAME, case, method).row("seconds_per_image", seconds / len(findings), unit="s"))
    return rows


def training_rows(cell: Cell, detector: Detector, folder: Path) -> list[Row]:
    """Losses at the end, and the health of the generator."""
    stats = RunFolder.latest(folder).stats()
    last = stats[-max(1, round(LAST * len(stats))) :]
    rows = [cell.row(name, float(np.mean([row[name] for row in last]))) for name in ("loss_d", "loss_g")]
    health = detector.history["health"]
    rows += [cell.row(name, health[name]) for name in ("diversity", "coverage") if health[name] is not None]
    rows.append(cell.row("training_seconds", float(detector.history["seconds"]), unit="s"))
    return rows


def search_rows(cell: Cell, findings: Sequence[Finding], kinds: Sequence[str]) -> list[Row]:
    """What the search reached on held-out normals, and how well it tells them from the same with a defect."""
    kind = np.array(kinds)
    residuals, scores = column(findings, "mean_residual"), column(findings, "score")
    rows = [
        cell.mean("heldout_residual", residuals[kind == "normal"]),
        cell.mean("search_loss", column(findings, "anomaly")[kind == "normal"]),
    ]
    for defect in ("blob", "patch"):
        pair = np.isin(kind, ("normal", defect))
        rows.append(cell.auroc(f"auroc_{defect}", kind[pair] == defect, scores[pair]))
    return rows


def planted(normals: Pictures) -> tuple[ImageSource, list[str]]:
    """Normals, the same with a blob, the same with a patch of another one; and which is which."""
    versions = {"normal": normals, "blob": plant_blob(normals)[0], "patch": paste_patches(normals)}
    kinds = [kind for kind, pictures in versions.items() for _ in pictures]
    return from_arrays(np.concatenate(list(versions.values()))), kinds


def paste_patches(images: Pictures, seed: int = 0) -> Pictures:
    """Copies of images (N, H, W) with a square of another of them at another place: wrong only in its surroundings.

    After Li et al. 2021, "CutPaste" (2104.04015), which pastes a patch of the same image. The side is a quarter to a
    third of the image's.
    """
    if len(images) < 2:
        raise DataError(f"pasting patches needs at least 2 images, got {len(images)}")
    pasted = images.copy()
    height, width = images.shape[1:3]
    for number in range(len(images)):
        rng = np.random.default_rng(derive(seed, "patch", number))
        other = images[(number + rng.integers(1, len(images))) % len(images)]
        side = max(2, round(rng.uniform(1 / 4, 1 / 3) * min(height, width)))
        most = -1.0
        for _ in range(TRIALS):
            (top, above), (left, before) = (
                rng.integers(height - side + 1, size=2),
                rng.integers(width - side + 1, size=2),
            )
            here = np.s_[top : top + side, left : left + side]
            patch = other[above : above + side, before : before + side]
            change = float(np.abs(patch.astype(np.float64) - images[number][here]).mean())
            if change > most:
                most, where, best = change, here, patch
        pasted[number][where] = best
    return pasted


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The paper's and what the options change."""
    given = asked(arguments, PAPER)
    return Settings().with_overrides([*given, f"data.holdout_most={HELD_OUT}", f'data.normal="{arguments.normal}"'])


def parser() -> argparse.ArgumentParser:
    """This benchmark's options."""
    parser = options(str(__doc__))
    parser.add_argument(
        "--variants",
        nargs="+",
        default=list(VARIANTS),
        choices=list(VARIANTS),
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)}",
    )
    parser.add_argument("--normal", default="0", help="the normal digit")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S", help="training seeds")
    parser.add_argument("--widths", nargs="+", type=int, metavar="W", help="networks.base_channels to compare")
    parser.add_argument(
        "--search-rates", nargs="+", type=float, metavar="R", help=f"search.learning_rate to compare on {DEFAULT}"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    return run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
