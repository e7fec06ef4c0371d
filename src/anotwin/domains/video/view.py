"""What a model looks at in clips: each frame as a whole, with frames before it as its context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anotwin.domains.video.camera import restored, scene_of, stored
from anotwin.domains.video.clips import Clip, clip_at
from anotwin.domains.video.context import clips_of
from anotwin.domains.video.frame import FrameImage, Parts, seen_frames
from anotwin.domains.video.reader import FrameReader
from anotwin.domains.video.training_frames import ClipSubset, TrainingFrames, rows_before
from anotwin.prepare.cache import prepare_images
from anotwin.prepare.image_spec import infer_spec
from anotwin.records import ImageSource, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import TrainingImages
from anotwin.updates import Update, Watch

if TYPE_CHECKING:
    from anotwin.domains.protocol import Seen

SIDE = 256  # pixels: a walker of a surveillance camera has some thirty


@dataclass(frozen=True)
class FramesView:
    """See `anotwin.domains.protocol.View`, and there `Refers`."""

    reference: Mapping[str, Any] = field(default_factory=dict)  # of the training; none: nothing is compared with it
    refer_to: int = 64

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """What fits a sample of the frames; 256 pixels a side where nothing is said."""
        data = settings.data.model_copy(update={"image_size": settings.data.image_size or SIDE})
        spec, notes = infer_spec(source, indices, data, settings.training.seed)
        clips = clips_of(source)
        found = len({clip_at(clips, index).first for index in indices})
        many = f"{found} clip{'' if found == 1 else 's'}, {len(indices)} frames"
        count = f"{many}: looked at as a whole, resized to {spec.size} x {spec.size}"
        return replace(spec, view="frames"), (count, *notes)

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """All frames, read and resized once."""
        memory, workers = settings.data.memory_mb, settings.data.workers
        images = prepare_images(
            source, indices, spec, memory, out, workers, lambda done, total: watch(Update("preparing", done, total))
        )
        before = rows_before(images.indices, clips_of(source))
        # frames before one are of the same clip, and so of the same part of a split
        return TrainingFrames(images, lambda rows: ClipSubset(images, before, rows))

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[FrameImage]:
        """The frames in this order; each is read once where they follow each other."""
        del settings
        return seen_frames(source, indices, spec, pixels, _whole, restored(self.reference))

    def refer(self, heldout: Seen, training: Seen = ()) -> dict[str, Any]:
        """The scene that held-out frames show."""
        del training
        return stored(scene_of(image.square for image, _, _ in heldout))

    def against(self, reference: Mapping[str, Any]) -> FramesView:
        """The same view, which says where a frame is not of the scene; raises DataError for another view's."""
        restored(reference)
        return FramesView(reference)

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """The range that the model was trained with."""
        return spec.black, spec.white


def _whole(reader: FrameReader, clip: Clip, number: int) -> Parts:
    """A frame as one square, with those before it."""
    return Parts(reader.squares(clip, (number,)), None)
