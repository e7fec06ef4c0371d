"""What a domain is: a kind of images, how its files are laid out, and what a model looks at in them.

A domain is a folder beside this file and one line in registry.py. Its ``domain.py`` names the parts below and loads
them when they are needed: the command line asks every domain for its name, and must not wait for torch. Domains import
data, prepare and report, never methods, run, commands or each other.

    Domain     name, layouts, view, what it writes besides scores.csv and what `anotwin prepare` shows of it
    Layout     one way in which files are laid out: whether a folder has it, and how it is opened
    View       what a model looks at: whole images, patches, tiles ... -> `Prepared` images
    Prepared   one image as the model sees it: its squares, made when they are asked for
    Results    what a method finds in these squares, as it comes: the way back to the file
    Outputs    what `score` and `evaluate` write of a domain, fed by the one scoring stream
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from anotwin.updates import Watch, silent

if TYPE_CHECKING:  # domains are named without torch and numpy
    import torch

    from anotwin.data.folder import Part
    from anotwin.records import (
        Alarms,
        Array,
        Batch,
        Calibration,
        Finding,
        ImageSource,
        ImageSpec,
        Pictures,
        Scores,
        Trace,
    )
    from anotwin.report.listing import Listing
    from anotwin.settings import Settings
    from anotwin.training.protocol import TrainingImages


@dataclass(frozen=True)
class Layout:
    """One way in which the files of a data set are laid out."""

    name: str  # what `--layout` and `data.layout` call it
    recognises: Callable[[Path], bool]  # whether DATA can be nothing else
    open: Callable[[Path, Part, str | None], ImageSource]  # DATA, what for, the label that is normal; raises DataError
    # likewise with patterns of what is abnormal as well; None: the layout itself knows
    open_sorted: Callable[[Path, Part, str | None, str | None], ImageSource] | None = None
    columns: tuple[str, ...] = ("mask",)  # of manifest.csv beside file, label, split and group: `data.columns.MORE`
    named: bool = True  # whether the images have names of files, which can say what belongs together


class Prepared(Protocol):
    """One image of a source as the model sees it. What could not be made of it is None, and `error` says why."""

    @property
    def index(self) -> int: ...  # in the source

    @property
    def fingerprint(self) -> int | None: ...  # of the native pixels

    @property
    def squares(self) -> Squares | None: ...  # P of them: one of a whole image, one a part; None with an error

    @property
    def error(self) -> str: ...  # one line that names the image; "": nothing is missing

    @property
    def evidence(self) -> Any: ...  # what the domain found on the way; `Finding.evidence` hands it to its outputs

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        """One number per term from those of the squares, (P,) each."""
        ...

    def results(self) -> Results:
        """Empty ones, which take what is found in the squares."""
        ...


class Squares(Protocol):
    """The squares of an image, in an order of their own; a `Batch` is one whose squares are there already."""

    def __len__(self) -> int: ...

    def rows(self, rows: slice) -> Batch:
        """Some of them, (p, C, S, S)."""
        ...


class Results(Protocol):
    """What a method finds in the squares of one image. It comes in pieces and need not be kept as it came."""

    def take(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor) -> None:
        """Of the next squares: (p, C, S, S) twice and (p, S, S), on the CPU."""
        ...

    def heat(self) -> Array:
        """The heat where the squares show the image, in any shape: the scale of heat is set by it."""
        ...

    def pictures(self, one: float) -> Pictures:
        """Back in the pixels of the file, when all squares were taken; `one` is the heat that counts as 1."""
        ...


@runtime_checkable
class ShowsRegions(Protocol):
    """`Results` of which outputs mark regions: the limit of their heat is set by what held-out normals reach."""

    def region_heat(self, least_area: int) -> float:
        """The highest heat that so many connected pixels of the file reach, in the unit of `heat`."""
        ...


class View(Protocol):
    """What a model looks at in the images of a source."""

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """What a model of these training images takes, and notes for the user; raises DataError, SettingsError."""
        ...

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """The training images at `indices`, prepared once; `out` is a folder for what does not fit into memory.

        Raises DataError where no image, or less than half of them, can be used.
        """
        ...

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[Prepared]:
        """The images at `indices`, in that order; `pixels` says whether `Results.pictures` will be asked for."""
        ...

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """The native values that pictures show as black and white; None: chosen for each image by itself."""
        ...


@dataclass(frozen=True)
class Unit:
    """Images that one decision is wanted of: a patient, a part, a volume."""

    name: str  # unique within its kind and source
    members: tuple[int, ...]  # in the source: those of its images that were asked for
    score: float  # pooled over them; NaN where none has a score


if TYPE_CHECKING:
    # images as a view prepared them, each with its `Results` (training images: None) and the scores (P,) of its squares
    Seen = Iterable[tuple[Any, Any, Scores[Array]]]
    # the source, and the scores of some of its images by index, NaN where one failed -> units of these, by their kind
    Units = Callable[[ImageSource, Mapping[int, float]], Mapping[str, Sequence[Unit]]]


@runtime_checkable
class Refers(Protocol):
    """A view that compares with what a model learnt from: JSON, and tensors, kept with the model as ``reference``.

    `TrainingImages` may have a part of it too, as an attribute `reference`.
    """

    @property
    def refer_to(self) -> int: ...  # how many held-out normals the reference is made of, at most, and training images

    def refer(self, heldout: Seen, training: Seen = ()) -> Mapping[str, Any]:
        """What held-out normals are like, and training images, which are scored only where a view asks for them.

        `notes` in it are sentences for the user who trains, and are not kept.
        """
        ...

    def against(self, reference: Mapping[str, Any]) -> View:
        """The view that compares with a reference."""
        ...


class Model(Protocol):
    """What outputs may ask of the model that scores."""

    @property
    def spec(self) -> ImageSpec: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def threshold(self) -> float | None: ...  # anomalous = score > threshold; None before calibration

    calibration: Calibration | None

    def findings(self, data: Any, indices: Sequence[int] | None = None) -> Iterator[Finding]:
        """Images scored again: rows that a stopped run had finished have no finding."""
        ...

    def features(self, images: torch.Tensor) -> torch.Tensor: ...

    def sample(self, count: int, seed: int = 0) -> torch.Tensor: ...

    def trace(self, data: Any, indices: Sequence[int], steps: Sequence[int]) -> Trace | None: ...


@dataclass(frozen=True)
class Job:
    """One run of `score` or `evaluate`, as its outputs see it."""

    source: ImageSource
    out: Path
    model: Model
    pictures: bool = True  # every finding comes with its pictures, and those of every image are written
    show: bool = True  # pictures are wanted, be it not of every image
    options: frozenset[str] = frozenset()  # some of `Domain.options`
    earlier: frozenset[str] = frozenset()  # ids of images that earlier runs wrote pictures of into `out`
    watch: Watch = field(default=silent, repr=False)

    def again(self, names: AbstractSet[str], known: Iterable[Finding] = ()) -> Iterator[Finding]:
        """The findings of these ids whose rows were kept from a stopped run: the `known` ones, others scored again."""
        found = {finding.id: finding for finding in known if finding.id in names}
        wanted = [index for index, item in enumerate(self.source.items) if item.id in names - found.keys()]
        return chain(found.values(), self.model.findings(self.source, wanted) if wanted else ())


@dataclass(frozen=True)
class Written:
    """Something that was written, for the terminal, a report or a server to show."""

    path: Path  # a file, or a folder of them
    caption: str  # what it shows, in a few words
    listing: Listing | None = None  # its rows for the terminal


class Outputs(Protocol):
    """What a domain writes in one run; every finding of the one scoring stream passes through `take`."""

    def take(self, index: int, finding: Finding) -> None:
        """Use the finding of image `index`; its row in scores.csv is written afterwards."""
        ...

    def finish(self, shown: Sequence[Finding], table: Path | None) -> Sequence[Written]:
        """Write what takes all findings.

        Args:
            shown: those of figure.png, with pictures.
            table: scores.csv, with the rows of a stopped run too; None in `evaluate`, which has none.
        """
        ...


class ScoreOutputs(Outputs, Protocol):
    """What a domain writes in `score`, which may go on after a stop, and may write no pictures of every image."""

    def unfinished(self, done: AbstractSet[str]) -> Sequence[int]:
        """The images still to score, ascending, when those with the ids `done` have a row already."""
        ...

    def wants(self, finding: Finding) -> bool:
        """Whether this finding is needed with its pictures, though none are written for every image."""
        ...


@dataclass(frozen=True)
class Checked:
    """What a domain's check of DATA before training found; the terminal shows it, `--json` prints `numbers`."""

    written: tuple[Written, ...]  # the table first
    summary: str  # one line
    numbers: Mapping[str, Any] = field(repr=False)  # plain JSON


if TYPE_CHECKING:
    Check = Callable[[ImageSource, Path, int | None, bool, Watch], Checked]  # source, out, limit, pictures, watch


@dataclass(frozen=True)
class MarkedRegion:
    """Where something was seen in a frame of a clip."""

    frame: int  # within the clip, from 0
    box: tuple[int, int, int, int]  # top, left, bottom, right; the last two excluded
    heat: float  # the highest
    shown: bool  # as `anotwin score` marks it, in frames of events; False: of any frame, also fainter, for curves


@dataclass(frozen=True)
class ClipFound:
    """What was found in one clip; frames count from 0."""

    name: str
    first: int  # index in the source of its first frame
    count: int
    rate: float  # frames a second
    events: tuple[tuple[int, int], ...]  # first and last frame
    regions: tuple[MarkedRegion, ...]


@runtime_checkable
class FindsEvents(Protocol):
    """`Outputs` of images that follow each other in time, which can be asked for events after `finish`."""

    def clips(self) -> Sequence[ClipFound]:
        """What was found in each clip, in order."""
        ...


@dataclass(frozen=True)
class Notice:
    """Something that `anotwin watch` tells of."""

    kind: str  # event, gap, camera, end
    text: str  # a sentence
    numbers: Mapping[str, Any] = field(repr=False)  # the same as plain JSON


if TYPE_CHECKING:
    # the source's address, a model, a folder for results, seconds to watch, seconds to wait for a lost source
    Watching = Callable[[str, Model, Path | None, float | None, float | None, Watch], Iterator[Notice]]


@dataclass(frozen=True)
class Domain:
    """One kind of images; each part is loaded by calling it, for it may take seconds."""

    name: str
    layouts: tuple[Layout, ...]
    view_name: str  # in `data.view` and `ImageSpec.view`
    parts: bool  # whether a view's squares are parts of images
    view: Callable[[], View]
    scoring: Callable[[Job], ScoreOutputs]  # of `anotwin score`
    evaluating: Callable[[Job], Outputs]  # of `anotwin evaluate`
    method: str = "twin"  # that a model of this view is trained with where none is named
    check: Check | None = None  # of `anotwin prepare`; None: there is nothing to check
    own_layout: str = "auto"  # the layout of DATA where none is named; auto: the first that recognises it
    options: Mapping[str, str] = field(default_factory=dict)  # of `anotwin score`: name -> what it does
    pictured: bool = True  # `anotwin score` writes pictures of every image; False: the domain's outputs show them
    files: tuple[str, ...] = ()  # that `anotwin score` may write besides scores.csv; one that it does not is removed
    # whether this view is the better one for training images of another domain's layout, where `data.view` is auto
    claims: Callable[[ImageSource, Sequence[int], Settings], bool] = lambda _source, _indices, _settings: False
    shrinks: bool = True  # pictures kept for a figure; False: it marks places in the pixels of the file
    units: Units = lambda _source, _scores: {}  # pooled alike for calibration, tables and evaluation; {}: images alone
    looks_back: int = 0  # frames before each that its view hands to a method as context
    watching: Watching | None = None  # of `anotwin watch`; None: its images do not come by themselves
    # the source, scores of held-out normals by index: what raises an alarm; None: single images decide
    alarms: Callable[[ImageSource, Mapping[int, float], Settings], Alarms | None] = lambda _source, _scores, _: None
