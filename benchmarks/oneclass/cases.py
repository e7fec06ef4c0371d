"""Who learns from what in `oneclass`, and how each method comes to its scores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from anotwin import Detector, Settings
from anotwin.data.split import split_holdout
from anotwin.detector import Update, Watch
from anotwin.prepare.stream import stream
from anotwin.records import ImageSource
from anotwin.seeding import derive, fingerprint
from benchmarks.common.images import Images, column, draw, members, pixels, score
from benchmarks.common.kept import Keeper, Key, Outcome
from benchmarks.common.rows import Floats
from benchmarks.common.script import timed
from benchmarks.oneclass.classical import CLASSICAL, least_time
from benchmarks.oneclass.other_libraries import NAMES as PEERS
from benchmarks.oneclass.other_libraries import peer_results

OWN = {"twin": "twin", "fanogan": "fanogan", "anogan": "anogan", "aCAE": "acae"}  # as printed: as registered
METHODS = (*CLASSICAL, "twin", "fanogan", "anogan", "P_D", "GAN_R", "aCAE")  # in the order in which they run
COLUMNS = ("score", "residual", "discrimination", "discriminator", "anomalous")  # of our methods' findings

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Case:
    """One normal digit and one training seed."""

    normal: str
    seed: int
    settings: Settings  # with both of them
    device: str
    source: ImageSource  # normal images: to learn from, and to hold out
    learnt: tuple[int, ...]  # positions in `source` of those that every method learns from
    test: ImageSource
    indices: tuple[int, ...]  # (N,) positions in `test` of those that every method scores
    peer_minutes: float = 0.0  # of training, for each detector of other libraries; 0: none of them

    @property
    def name(self) -> str:
        """As in the table."""
        return f"normal={self.normal}, seed={self.seed}"

    @property
    def ids(self) -> list[str]:
        """(N,) names of the test images."""
        return [self.test.items[index].id for index in self.indices]

    @property
    def labels(self) -> list[str]:
        """(N,) classes of the test images; used to measure, and for nothing else."""
        return [str(self.test.items[index].label) for index in self.indices]

    @property
    def truth(self) -> npt.NDArray[np.bool_]:
        """(N,) True where the test image is abnormal."""
        return np.array([self.test.items[index].normal is False for index in self.indices])

    @cached_property
    def fingerprints(self) -> Ints:
        """(N,) of the test images: the same image has the same one in every case."""
        return _fingerprints(self.test, self.indices)

    @cached_property
    def _images(self) -> dict[str, str]:
        images = {"learnt": _fingerprints(self.source, self.learnt), "scored": self.fingerprints}
        return {name: f"{derive(0, *each.tolist()):016x}" for name, each in images.items()}

    def key(self, method: str) -> Key:
        """What a method's scores depend on, but for code and machine."""
        by: dict[str, object] = {"settings": self.settings.model_dump(mode="json"), "device": self.device}
        if method in CLASSICAL:
            by = {}  # the seed, and pixels
        if method in PEERS:
            by = {"minutes": self.peer_minutes}
        return {"method": method, "normal": self.normal, "seed": self.seed, **self._images, **by}


def open_case(
    images: Images, normal: str, seed: int, settings: Settings, limit: int | None, device: str, peer_minutes: float
) -> Case:
    """A case; who is held out follows from the data, `settings.data` and the seed, as in `Detector.train`."""
    own = settings.with_overrides([f"training.seed={seed}", f'data.normal="{normal}"'])
    source, test = images.training(normal), images.test(normal)
    fingerprints = _fingerprints(source, range(len(source.items)))
    data = own.data
    learnt, _ = split_holdout(source.items, data.holdout, data.holdout_most, seed, fingerprints.tolist())
    indices = tuple(draw(test, limit))
    return Case(normal, seed, own, device, source, tuple(learnt.tolist()), test, indices, peer_minutes)


def _fingerprints(source: ImageSource, indices: Sequence[int]) -> Ints:
    return np.array([fingerprint(source.read(index)) for index in indices], dtype=np.int64)


def outcomes(case: Case, methods: Sequence[str], keeper: Keeper, watch: Watch) -> Iterator[tuple[str, Outcome]]:
    """Each of `methods` with its outcome, then the peers: kept ones as they are, others kept as soon as they are done.

    Among the peers the kept ones come first.
    """
    trained = Trained(case, watch)
    for name in methods:
        yield name, keeper.once(case.key(name), case.ids, watch, partial(_outcome, name, case, trained, watch))
    if case.peer_minutes <= 0:
        return
    missing = []
    for name in PEERS:
        outcome = keeper.load(case.key(name), watch)
        if outcome is None:
            missing.append(name)
        else:
            yield name, outcome
    if missing:
        for name, outcome in _peers(case, missing, watch):
            keeper.save(case.key(name), outcome, case.ids)
            yield name, outcome


@dataclass(eq=False)
class Trained:
    """A case's detectors, each trained and calibrated when first asked for: AnoGAN's serves P_D and GAN_R too."""

    case: Case
    watch: Watch
    done: dict[str, tuple[Detector, float]] = field(default_factory=dict)

    def __call__(self, method: str) -> tuple[Detector, float]:
        """The detector, and the seconds of all of its training: preparing images and calibrating are part of it."""
        if method not in self.done:
            case = self.case
            self.watch(Update("note", detail=f"training {method}"))
            began = time.perf_counter()
            detector = Detector.train(
                case.source, method=method, settings=case.settings, device=case.device, watch=self.watch
            )
            self.done[method] = detector, time.perf_counter() - began
            assert tuple(members(detector, case.source, "train")) == case.learnt
        return self.done[method]


def _outcome(name: str, case: Case, trained: Trained, watch: Watch) -> Outcome:
    if name in CLASSICAL:
        return _classical(name, case, watch)
    detector, training = trained(OWN.get(name, "anogan"))
    if name == "P_D":
        verdicts, seconds = least_time(lambda: _verdicts(detector, case))
        return Outcome({"score": verdicts}, seconds, training)
    if name == "GAN_R":
        watch(Update("note", detail="searching with the discrimination loss of GAN_R"))
        reference = detector.with_settings(case.settings.with_overrides(["search.discrimination=sigmoid"]))
        findings, seconds = score(reference, case.test, case.indices, watch)
        return Outcome({"score": column(findings, "score")}, seconds, training)
    findings, seconds = score(detector, case.test, case.indices, watch)
    return Outcome({each: column(findings, each) for each in COLUMNS}, seconds, training)


def _classical(name: str, case: Case, watch: Watch) -> Outcome:
    watch(Update("note", detail=name))
    training, queries = pixels(case.source, case.learnt), pixels(case.test, case.indices)
    scorer, fitted = timed(lambda: CLASSICAL[name](training, case.seed))
    scores, seconds = least_time(lambda: scorer(queries))
    return Outcome({"score": scores}, seconds, fitted)


def _verdicts(detector: Detector, case: Case) -> Floats:
    """P_D without a counterpart: minus the discriminator's logit."""
    parts = stream(case.test, case.indices, detector.method.spec, 128, keep_pixels=False)
    return np.concatenate([-detector.method.critique(part.images).logits.double().cpu().numpy() for part in parts])


def _peers(case: Case, names: Sequence[str], watch: Watch) -> Iterator[tuple[str, Outcome]]:
    train, test = (
        np.stack([source.read(index) for index in indices])
        for source, indices in ((case.source, case.learnt), (case.test, case.indices))
    )
    for result in peer_results(train, test, case.seed, case.peer_minutes, watch, names):
        columns = {} if result.error else {"score": result.scores}
        yield result.name, Outcome(columns, result.seconds, result.training_seconds, result.note, result.error or "")
