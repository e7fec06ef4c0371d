"""The values that pass from stage to stage: frozen, plain, shapes in comments.

Letters: N images in a source, B images in a batch, C channels (1 or 3), S the model's square side,
H x W a native image, Z latent dimensions, F discriminator features, P parts of an image, K frames of context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # calibration and tables use these records and have no need of torch
    import torch

T = TypeVar("T")
U = TypeVar("U")
Array = npt.NDArray[Any]
Fit = Literal["stretch", "pad"]
PixelType = Literal["uint8", "uint16", "float32"]


@dataclass(frozen=True)
class ImageSpec:
    """What a model takes: square images of `size` pixels, and how native pixel values map to [0, 1].

    `black` and `white` are the native values that stand for 0 and 1 in images of `pixel_type`. They are learnt from
    the training images for 16-bit and float pixels, so that 12-bit data in 16-bit files uses the whole range.
    """

    channels: int
    size: int
    pixel_type: PixelType = "uint8"
    black: float = 0.0
    white: float = 255.0
    fit: Fit = "stretch"
    view: str = "whole"  # name of the view (see `anotwin.domains`): which squares are made of an image
    parts: bool = False  # follows from the view: an image has many squares (patches, tiles)
    classes: tuple[int, ...] = ()  # grey values that are classes and no brightness, ascending; of translation alone

    def stored(self) -> dict[str, Any]:
        """As JSON values for bundle.json and run.json, without `parts`, which follows from the view."""
        kept = {key: value for key, value in vars(self).items() if key not in ("parts", "classes")}
        return kept | ({"classes": list(self.classes)} if self.classes else {})


@dataclass(frozen=True, slots=True)  # slots: a source may have a million of them
class ImageItem:
    """One image of a source before it is read: its id and, where the layout knows them, label, group and mask."""

    id: str  # path below DATA in posix form (or "test-00042" for arrays and idx): unique within its source
    label: str | None = None  # class folder, idx label; None where the layout has none
    normal: bool | None = None  # None where unknown
    group: str | None = None  # images that must never be in two splits (one patient, one part); None: its own group
    mask: str | None = None  # ground-truth mask, path below DATA; None: no mask known


class ImageSource(Protocol):
    """Files (or arrays) as a sequence of native images. `read` is called from worker processes: keep it picklable."""

    @property
    def layout(self) -> str: ...  # the name of a layout, or "array"

    @property
    def root(self) -> str: ...  # for messages

    @property
    def items(self) -> tuple[ImageItem, ...]: ...  # (N,)

    def read(self, index: int) -> Array:
        """Native pixels: (H, W) or (H, W, 3); uint8, uint16 or float32; raises DataError naming the file."""
        ...

    def read_mask(self, index: int) -> npt.NDArray[np.bool_] | None:
        """(H, W) True where abnormal, zeros for a normal image of a set with masks; None if no mask is known."""
        ...


@dataclass(frozen=True)
class Geometry:
    """How one native image was resized to the model's square: enough to map results back."""

    height: int
    width: int
    size: int
    fit: Fit


@dataclass(frozen=True)
class Batch:
    """Squares as a method takes them: whole images, or parts of images, of the model's size."""

    images: torch.Tensor  # (B, C, S, S) float32 in [-1, 1]
    fingerprints: tuple[int, ...] = ()  # (B,) 63-bit hash of the native pixels, seeds the latents; () in training
    context: torch.Tensor | None = None  # (B, K, C, S, S) the frames before each, oldest first
    abnormal: torch.Tensor | None = None  # (B, C, S, S) abnormal squares; in training of methods that learn from them
    when: torch.Tensor | None = None  # (B,) share of the training frames before each, in [0, 1); in training of clips

    def __len__(self) -> int:
        return int(self.images.shape[0])  # a tensor's own len takes ten times as long

    def rows(self, rows: slice) -> Batch:
        """Some of the squares."""
        context, abnormal, when = (None if each is None else each[rows] for each in self._beside())
        return Batch(self.images[rows], self.fingerprints[rows], context, abnormal, when)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        context, abnormal, when = (None if each is None else each.to(device) for each in self._beside())
        return Batch(self.images.to(device), self.fingerprints, context, abnormal, when)

    def _beside(self) -> tuple[torch.Tensor | None, ...]:
        return self.context, self.abnormal, self.when


class Status(StrEnum):
    """How the search for a counterpart ended; CONVERGED too where a network makes it in one pass."""

    CONVERGED = "converged"  # the loss had stopped falling when the search ended
    BUDGET_SPENT = "budget_spent"  # all steps used and the loss was still falling
    NOT_FOUND = "no_counterpart"  # the loss was never finite


@dataclass(frozen=True)
class Trace:
    """A search at some of its steps; every entry is the best until then."""

    steps: tuple[int, ...]  # (T,)
    losses: torch.Tensor  # (T, B) total loss
    images: torch.Tensor  # (T, B, C, S, S)


@dataclass(frozen=True)
class Counterpart:
    """The normal images that a batch ought to have been."""

    images: torch.Tensor  # (B, C, S, S) in [-1, 1]
    latents: torch.Tensor | None  # (B, Z); None for methods without a latent space
    steps: torch.Tensor  # (B,) int64, steps of search used
    status: tuple[Status, ...]  # (B,)
    trace: Trace | None = None  # where one was asked for


@dataclass(frozen=True)
class Scores(Generic[T]):
    """The terms of a score, each a tensor or array for a batch, or a number; higher is more abnormal."""

    score: T  # the term that the decision uses: A(x) unless compare.score names another
    anomaly: T  # A(x), the combination of residual and discrimination
    residual: T  # from pixels; AnoGAN: R(x), the sum of |x - G(z)|, pixels in [-1, 1]
    discrimination: T  # from features; AnoGAN: D(x), the sum of |f(x) - f(G(z))|
    discriminator: T  # P_D: minus the discriminator's logit of x
    mean_residual: T  # mean |x - G(z)| a pixel, pixels in [0, 1]

    def map(self, function: Callable[[T], U]) -> Scores[U]:
        """`function` applied to every term.

        >>> Scores(1.0, 2.0, 3.0, 4.0, 5.0, 6.0).map(int).residual
        3
        """
        return Scores(**{term: function(value) for term, value in vars(self).items()})


@dataclass(frozen=True)
class Comparison:
    """A batch compared with its counterparts."""

    scores: Scores[torch.Tensor]  # (B,) a term
    difference: torch.Tensor  # (B, C, S, S) x - G(z) in [-2, 2]: positive where the query is brighter than normal
    heatmap: torch.Tensor  # (B, S, S) >= 0, smoothed |x - G(z)| in units of pixels in [0, 1]


@dataclass(frozen=True)
class Pictures:
    """The pictures of one image, in the pixels of its file; tiled ones above 2^24 pixels have float16 maps."""

    query: Array  # (H, W) or (H, W, 3), native pixels as read
    counterpart: Array  # same shape and dtype as the query
    difference: Array  # (H, W) float32 in [-1, 1]: query - counterpart
    heatmap: Array  # (H, W) float32 >= 0; 1: the heat that 0.5 % of normal pixels exceed


@dataclass(frozen=True)
class Finding:
    """All that is known of one image after scoring. Pictures are in the pixels of the original file."""

    id: str
    label: str | None = None
    normal: bool | None = None
    score: float = float("nan")
    anomaly: float = float("nan")
    residual: float = float("nan")
    discrimination: float = float("nan")
    discriminator: float = float("nan")
    mean_residual: float = float("nan")
    p_value: float | None = None  # None before calibration
    anomalous: bool | None = None  # None before calibration
    flagged_by: str = ""  # "", "residual", "discrimination" or "both": which term alone exceeds its own threshold
    status: str = "error"
    error: str = ""  # one line where the image could not be scored
    fingerprint: int | None = None  # hash of the native pixels: tells whether the model was trained on this image
    group: str | None = None  # patient, part ... that the image belongs to; None: its own
    query: Array | None = field(default=None, repr=False)  # (H, W) or (H, W, 3), native pixels as read
    counterpart: Array | None = field(default=None, repr=False)  # same shape and dtype as the query
    difference: Array | None = field(default=None, repr=False)  # (H, W) float32 in [-1, 1]: query - counterpart
    heatmap: Array | None = field(default=None, repr=False)  # (H, W) float32 >= 0; 1: 0.5 % of normal pixels exceed it
    # from the domain, for its outputs: of a whole image its square (C, S, S), of an OCT scan the lines of its retina
    evidence: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class UnitScores:
    """What units of one kind score, among held-out normals: patients, volumes ... with one score for many images."""

    kind: str  # as the domain calls it
    scores: tuple[float, ...]  # (u,) ascending, pooled over the images of each
    groups: tuple[int, ...]  # (u,) the group of each, by the numbers of `Calibration.groups`


@dataclass(frozen=True)
class Alarms:
    """When the frames of a clip raise an alarm, and how often those of normal footage do; see `calibrate.alarms`."""

    wish: float  # alarms an hour that were asked for
    threshold: float  # an event begins where a frame scores higher
    leave: float  # and goes on while frames score higher than this, which is lower
    least_frames: int  # of an event
    bridge: int  # frames in a row below `leave` that end it
    expected: float  # alarms an hour of normal footage, estimated
    bound: float  # with 95 % confidence there are no more
    hours: float  # of held-out footage that this is known from
    promise: str  # what is promised, in a sentence


@dataclass(frozen=True)
class Calibration:
    """Thresholds and scales from the scores of held-out normals; see `anotwin.calibrate`."""

    false_alarm_rate: float  # requested, in (0, 1)
    threshold: float  # anomalous = score > threshold
    residual_threshold: float  # the same rate for R alone
    discrimination_threshold: float  # and for D alone
    scores: tuple[float, ...]  # (n,) ascending: the held-out normals, for p-values
    heatmap_scale: float  # the heat that 0.5 % of the pixels of held-out normals exceed
    rate_bound: float  # with 95 % confidence over calibration draws the true false-alarm rate is below this
    groups: tuple[int, ...] = ()  # (n,) the group of each score, numbers from 0; (): images are independent
    units: tuple[UnitScores, ...] = ()  # by kind; () without groups
    region_limit: float | None = None  # of `Finding.heatmap`: regions lie above it; None: the view shows no regions
    alarms: Alarms | None = None  # of clips: `threshold` is theirs; None: it is that of the false-alarm rate

    def stored(self) -> dict[str, Any]:
        """As JSON values for bundle.json; without groups and regions as before there were any."""
        later = ("groups", "units", "region_limit", "alarms")
        return {key: value for key, value in asdict(self).items() if key not in later or value not in ((), None)}
