"""Search and encoder of `speed`: images a second and AUROC beside the plain search, on the same networks."""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import torch

from anotwin import Detector, Settings
from anotwin.detector import Update, Watch
from anotwin.evaluate import metrics
from anotwin.methods.registry import create
from anotwin.prepare.resize import to_model
from anotwin.records import ImageSource
from anotwin.search.inference import search_dtype
from anotwin.seeding import derive, generator
from anotwin.updates import silent
from benchmarks.common.images import Images, abnormal, column, score
from benchmarks.common.rows import Cell, Floats, Row
from benchmarks.speed.limit import GIGA, flops, in_turns, middle, probes, seconds
from benchmarks.speed.plain import PlainDiscriminator, plain_generator, plain_search, with_weights

CONTENDERS = "plain search", "engine", "encoder"
A_TURN = {"engine": 256, "encoder": 2048}  # images
GOALS = {"auroc_gain": ">= 0", "engine": ">= 100", "encoder": ">= 5000", "share": ">= 0.6"}


def search_rows(
    benchmark: str,
    images: Images,
    arguments: argparse.Namespace,
    settings: Settings,
    device: torch.device,
    goals: bool,
    watch: Watch,
) -> list[Row]:
    """Train once, f-AnoGAN's way; then the plain search, the engine and the encoder in turns."""
    encoder = Detector.train(
        images.training(arguments.normal), method="fanogan", settings=settings, device=arguments.device, watch=watch
    )
    engine, source = searching(encoder), images.test(arguments.normal)
    both = half_and_half(source, arguments.images)
    plain = PlainSearch(engine, source, both, arguments, watch)
    dtype, scale = search_dtype(settings.search.precision, device), 8 if arguments.quick else 1
    speed = middle(
        in_turns(
            {
                "plain search": plain.turn,
                "engine": lambda: rate(engine, source, A_TURN["engine"] // scale, device),
                "encoder": lambda: rate(encoder, source, A_TURN["encoder"] // scale, device),
                **probes(dtype, device, 1 / scale),
            },
            arguments.rounds,
        )
    )
    findings, _ = score(engine, source, both, silent)
    work = flops(lambda: score(engine, source, both[:64], silent)) / len(both[:64])
    return rows(benchmark, settings, speed, goals, work) + auroc_rows(
        benchmark, settings, abnormal(findings), np.array(plain.scores), column(findings, "score"), goals
    )


def searching(encoder: Detector) -> Detector:
    """AnoGAN on the generator and the discriminator of an f-AnoGAN, with the engine's search."""
    method = create("anogan", encoder.method.spec, encoder.method.settings)
    for name, network in method.networks.items():
        network.load_state_dict(encoder.method.networks[name].state_dict())
    method.networks.to(next(encoder.method.networks.parameters()).device)
    return Detector(method)


def half_and_half(source: ImageSource, count: int) -> list[int]:
    """`count` positions, half of them of normal images, drawn with a fixed seed."""
    rng = np.random.default_rng(derive(0, "speed"))
    normal = np.array([bool(item.normal) for item in source.items])
    chosen = [rng.permutation(np.flatnonzero(normal == kind))[: count // 2] for kind in (True, False)]
    return sorted(np.concatenate(chosen).tolist())


def rate(detector: Detector, source: ImageSource, count: int, device: torch.device) -> float:
    """Images a second of a detector from its public door: reading, preparing and comparing included."""
    wanted = [index % len(source.items) for index in range(0, 7 * count, 7)]  # of all classes
    return count / seconds(lambda: score(detector, source, wanted, silent), device)


class PlainSearch:
    """The plain search over `positions`, some a turn."""

    def __init__(
        self, detector: Detector, source: ImageSource, positions: list[int], arguments: argparse.Namespace, watch: Watch
    ) -> None:
        method = detector.method
        self.device = next(method.networks.parameters()).device
        networks = method.settings.networks
        self.g = with_weights(plain_generator(method.spec, networks), method.networks["generator"]).to(self.device)
        self.d = with_weights(PlainDiscriminator(method.spec, networks), method.networks["discriminator"]).to(
            self.device
        )
        self.steps, self.watch, self.latent_dim = arguments.plain_steps, watch, networks.latent_dim
        self.images = [to_model(source.read(index), method.spec)[0][None] for index in positions]
        self.turns = np.array_split(np.arange(len(positions)), arguments.rounds)
        self.scores: list[float] = []
        self.warm = False

    def turn(self) -> float:
        """Images a second over the next few; the first call only warms up."""
        if not self.warm:
            self.warm = True
            self._search(0, min(self.steps, 20))
            return 0.0
        few = self.turns.pop(0).tolist()
        return len(few) / seconds(lambda: self.scores.extend(self._search(i, self.steps) for i in few), self.device)

    def _search(self, index: int, steps: int) -> float:
        start = torch.randn(1, self.latent_dim, 1, 1, generator=generator(0, "plain", index)).to(self.device)
        found = plain_search(self.g, self.d, self.images[index].to(self.device), steps, start)
        self.watch(Update("plain search", len(self.scores) + 1, len(self.images)))
        return found


def rows(benchmark: str, settings: Settings, speed: dict[str, float], goals: bool, work: float) -> list[Row]:
    """Speeds, their ratios, and the share of the machine's limit that the engine's `work` FLOPs an image reach."""
    goal = GOALS if goals else {}
    cells = {name: Cell(benchmark, case_of(settings), name) for name in speed}
    plain, engine, encoder = (speed[name] for name in CONTENDERS)
    limits = [value for name, value in speed.items() if name not in CONTENDERS]
    reached = work * engine / GIGA
    return [
        *(cells[name].row("images_per_second", speed[name]) for name in CONTENDERS),
        cells["engine"].row("speed_up", engine / plain, goal=goal.get("engine")),
        cells["encoder"].row("speed_up", encoder / plain, goal=goal.get("encoder")),
        *(cells[name].row("rate", value, unit="GFLOP/s") for name, value in speed.items() if name not in CONTENDERS),
        cells["engine"].row("rate", reached, unit="GFLOP/s"),
        cells["engine"].row("share_of_limit", reached / max(limits), goal=goal.get("share")),
    ]


def auroc_rows(
    benchmark: str, settings: Settings, truth: npt.NDArray[np.bool_], plain: Floats, engine: Floats, goals: bool
) -> list[Row]:
    """AUROC of both on the same images, and the gain with its paired interval."""

    def gain(labels: npt.NDArray[np.bool_], drawn: Floats) -> float:
        rows = drawn.astype(np.int64)
        return metrics.auroc(labels, engine[rows]) - metrics.auroc(labels, plain[rows])

    everyone = np.arange(len(truth), dtype=np.float64)
    cells = {name: Cell(benchmark, case_of(settings), name) for name in CONTENDERS}
    return [
        cells["plain search"].auroc("auroc", truth, plain),
        cells["engine"].auroc("auroc", truth, engine),
        cells["engine"].row(
            "auroc_gain",
            gain(truth, everyone),
            metrics.bootstrap(gain, truth, everyone),
            goal=GOALS["auroc_gain"] if goals else None,
        ),
    ]


def case_of(settings: Settings) -> str:
    """What the rows are about."""
    return f"search, {settings.networks.width_for(False)} base channels"
