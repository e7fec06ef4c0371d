"""How fast: search, encoder and training beside plain PyTorch loops of the same networks and the machine's limit.

One run, in which all contenders take turns, since times on a shared machine mean something side by side only:

    search     AnoGAN's objective by the engine, and f-AnoGAN's encoder, beside 500 steps of Adam image by image as
               public repositories have it, on the same networks; AUROC of both searches on the same images
    training   the training loop in float32 and bf16 beside PyTorch's DCGAN tutorial
    limit      GFLOP/s of a large matrix product and a large convolution, and the share of it that ours reach
    memory     1,000 to 100,000 files scored: peak memory and time an image
    neighbour  training beside a second process that trains as well, with threads that sleep or spin while they wait

    python benchmarks/speed --json speed.json                   # about ten minutes on two cores
    python benchmarks/speed --part training --base-channels 32
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is imported from there

from anotwin import Settings
from anotwin.commands import showing
from anotwin.run.device import fabric_for
from anotwin.search.inference import search_dtype
from benchmarks.common.images import find_or_bundled
from benchmarks.common.rows import Report
from benchmarks.common.script import asked, options, print_head, run
from benchmarks.speed.memory import memory_rows
from benchmarks.speed.neighbour import neighbour_rows
from benchmarks.speed.search import search_rows
from benchmarks.speed.training import training_rows

NAME = "speed"
PARTS = ("search", "training", "memory", "neighbour")
NEIGHBOUR_SECONDS = 20  # of each training of the part neighbour
BASE = 64  # of the goals, with z = 100 at 32 x 32
QUICK_COUNTS = (20, 60)


def benchmark(arguments: argparse.Namespace) -> None:
    """The parts asked for, each with its own rows."""
    images, settings = find_or_bundled(arguments), settings_of(arguments)
    device = fabric_for(arguments.device, "32-true").device
    quick = arguments.quick
    fast = str(search_dtype(settings.search.precision, device)).removeprefix("torch.")
    print_head(
        "Speed",
        {
            "data": f"{images.name}, normal = {arguments.normal}; memory: synthetic PNG files",
            "networks": f"{settings.networks.width_for(False)} base channels, z = {settings.networks.latent_dim}, "
            f"32 x 32, batches of {settings.training.batch_size}",
            "protocol": f"{settings.training.steps} training steps of fanogan; medians of {arguments.rounds} rounds, "
            "contenders in turns",
            "search": f"{settings.search.steps} steps in {fast}, batches of {settings.search.batch_size}; "
            f"plain: {arguments.plain_steps} steps one by one in float32",
            "seeds": f"training {settings.training.seed}, search {settings.search.seed}, bootstrap 0",
        },
    )
    report = Report(arguments.json)
    goals = not quick and settings.networks.width_for(False) == BASE
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch, showing.bars() as watch:
        if "training" in arguments.part:
            report.add(training_rows(NAME, images, arguments, settings, Path(scratch), device, goals, watch))
        if "search" in arguments.part:
            report.add(search_rows(NAME, images, arguments, settings, device, goals, watch))
        if "memory" in arguments.part:
            counts = sorted(arguments.counts or (QUICK_COUNTS if quick else (1_000, 10_000, 100_000)))
            method, place = arguments.memory_method, Path(scratch)
            report.add(memory_rows(NAME, method, counts, place, not quick, arguments.device, watch))
        if "neighbour" in arguments.part:
            width, seconds = settings.networks.width_for(False), 1 if quick else NEIGHBOUR_SECONDS
            report.add(neighbour_rows(NAME, width, arguments.rounds, seconds, goals, watch))
    report.show(report.rows)
    report.close()


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The defaults at the size that the goals are about, less with --quick."""
    given = [
        "training.steps=1500",
        "data.image_size=32",
        f'data.normal="{arguments.normal}"',
        f"networks.base_channels={BASE}",
    ]
    width = [] if arguments.base_channels is None else [f"networks.base_channels={arguments.base_channels}"]
    return Settings().with_overrides([*asked(arguments, given), *width])


def parser() -> argparse.ArgumentParser:
    """This benchmark's options; --quick makes the numbers small."""
    parser = options(str(__doc__))
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--normal", default="0", help="the normal digit")
    parser.add_argument("--base-channels", type=int, help="width of the networks; the goals are about 64")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--images", type=int, default=100, help="images searched by both, half of them normal")
    parser.add_argument("--plain-steps", type=int, default=500, help="steps of the plain search")
    parser.add_argument("--counts", type=int, nargs="+", help="images in the memory part, default 1000 10000 100000")
    parser.add_argument("--memory-method", default="fanogan", help="method of the memory part")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; the exit code."""
    given = parser().parse_args(arguments)
    if given.quick:
        given.rounds, given.images, given.plain_steps = 1, 20, 10
    return run(benchmark, given)


if __name__ == "__main__":
    sys.exit(main())
