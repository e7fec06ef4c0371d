"""What a model looks at in images of surfaces: overlapping tiles at the image's own resolution, and coarser ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from anotwin.data.folder import FileSource
from anotwin.data.pixels import image_shape
from anotwin.domains.surfaces.alike import learnt_of, stored_textures
from anotwin.domains.surfaces.golden_reference import Held, golden_of, golden_without, stored_golden
from anotwin.domains.surfaces.levels import Usual, not_of_this_view, stored, stored_without, usual_of, usual_without
from anotwin.domains.surfaces.places import highest_of, places_of, stored_places, told_of
from anotwin.domains.surfaces.texture import Texture, texture_of
from anotwin.domains.surfaces.tiles import TiledImage
from anotwin.prepare.foreground import find_foreground
from anotwin.prepare.image_spec import Measured, sample_images, spec_of
from anotwin.prepare.pyramid import scaled_shape
from anotwin.prepare.registration import small_picture
from anotwin.prepare.stream import UNUSABLE
from anotwin.prepare.tile_images import prepare_tiles, read_images
from anotwin.records import ImageSource, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import TrainingImages
from anotwin.updates import Update, Watch, tell

if TYPE_CHECKING:
    from anotwin.domains.protocol import Seen

TILE = 128  # pixels: a defect and its surroundings, and as much as a small network can learn to draw
LOOKED_AT = 25  # images whose sizes decide whether they are large


def are_large(source: ImageSource, indices: Sequence[int], settings: Settings) -> bool:
    """Whether these images would lose much as one square: their longer sides have 128 pixels or more (the median).

    Where `data.image_size` is given, more than twice that too: somebody chose a size for whole images.
    """
    some = indices[:: -(-len(indices) // LOOKED_AT) or 1]
    sides = [max(shape) for index in some if (shape := _shape(source, index))]
    return bool(sides) and median(sides) >= max(TILE, 1 + 2 * (settings.data.image_size or 0))


def _shape(source: ImageSource, index: int) -> tuple[int, ...] | None:
    """Height and width, by the header of the file if that is enough; None: it cannot be read."""
    try:
        shape = image_shape(source.file(index)) if isinstance(source, FileSource) else None
        return shape or source.read(index).shape[:2]
    except UNUSABLE:
        return None


def is_small(source: ImageSource, index: int, size: int, scale: float | None) -> bool:
    """Whether an image shows little of one tile: it fits into it, or is a strip of less than a quarter of its side.

    What is missing is mirrored (`prepare.pyramid.Level`). False where the image cannot be read.
    """
    shape = _shape(source, index)
    if shape is None:
        return False
    sides = scaled_shape(shape, scale)
    return max(sides) < size or 4 * min(sides) < size


@dataclass(frozen=True)
class TilesView:
    """See `anotwin.domains.protocol.View`, and there `Refers`."""

    reference: Mapping[str, Any] = field(default_factory=dict)  # of the training; none: nothing is compared with it
    refer_to: int = 128  # a spread of 32 numbers is off by an eighth

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """Tiles of `data.image_size`, in the type and range of a sample of the images."""
        size = settings.data.image_size or TILE
        sample = sample_images(source, indices, settings.training.seed)
        spec, notes = spec_of(source.root, sample, settings.data, size)
        return replace(spec, fit="stretch", view="tiles", parts=True), (*_notes(sample, size, settings), *notes)

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """All levels of all images, of which tiles are cut when training asks for them."""
        data = settings.data
        images = prepare_tiles(
            source,
            indices,
            spec,
            settings.training.seed,
            data.scale,
            data.memory_mb,
            out,
            data.workers,
            lambda done, total: watch(Update("preparing", done, total)),
        )
        if images.file is not None:
            tell(watch, [f"the images take more than data.memory_mb={data.memory_mb}: kept in a file in {out}"])
        return images

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[TiledImage]:
        """The images, one at a time; their tiles are cut when they are scored.

        Levels coarser than those of the reference are not looked at: nobody knows what is usual there.
        """
        usual, learnt, data = usual_of(self.reference), learnt_of(self.reference), settings.data
        places, without = places_of(self.reference), usual_without(self.reference)
        golden, others = golden_of(self.reference), golden_without(self.reference)
        if golden is not None and golden.pictures.shape[1] != spec.channels:
            raise not_of_this_view()
        for image in read_images(source, indices, spec, data.scale, data.workers):
            image = replace(image, levels=image.levels[: len(usual) or None])
            foreground = find_foreground(image.levels) if data.foreground == "auto" and image.levels else None
            own = usual if image.fingerprint is None else without.get(image.fingerprint, usual)
            own = learnt.usual_for(texture_of(image.levels[0].pixels), own) if learnt and image.levels else own
            item = source.items[image.index]
            yield TiledImage(
                **vars(image),
                spec=spec,
                usual=own,
                foreground=foreground,
                registration=data.registration,
                group=item.group or item.id,
                placed=places.of(small_picture(image.levels)) if places and image.levels else None,
                golden=golden,
                without=others.get(image.fingerprint) if image.fingerprint is not None else None,
                score=settings.compare.score,
                pictured=pixels,
            )

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """The range that the model was trained with."""
        return spec.black, spec.white

    def refer(self, heldout: Seen, training: Seen = ()) -> dict[str, Any]:
        """What the highest tile of each level scores, and how hot a level is; {} without normals."""
        seen = [
            (results.heat_of_levels(), image.shown(scores, results), texture_of(image.levels[0].pixels))
            for image, results, scores in heldout
        ]
        known = [(texture_of(image.levels[0].pixels), image.shown(scores, None)) for image, _, scores in training]
        textures, learnt = [texture for texture, _ in known], [each for _, each in known]
        heats, normal = [heat for heat, _, _ in seen], [each for _, each, _ in seen]
        found = stored(heats, highest_of(normal, None))
        if not found:
            return {}
        placed: dict[str, Any] = {}
        if normal[0].picture is not None:
            placed = stored_places(learnt, normal, [level["heat"] for level in found["levels"]])
        places = places_of(placed)
        lie = [[each.placed(places) for each in some] if places else None for some in (normal, learnt)]
        highest = highest_of(normal, lie[0])
        found = stored(heats, highest)
        levels, groups = found["levels"], [each.group for each in normal]
        names = [str(each.fingerprint) for each in normal]
        found["without"] = {"of": names, "levels": stored_without(heats, highest, groups, levels)}
        alike = stored_textures(textures, highest_of(learnt, lie[1]), len(levels)) if known else {}
        if places is None or lie[0] is None or lie[1] is None:
            return found | alike
        own = _usual_of_each([texture for _, _, texture in seen], found | alike)
        held = [Held(*each) for each in zip(normal, lie[0], highest, own, strict=True)]
        golden = stored_golden(list(zip(learnt, lie[1], strict=True)), held, places)
        others = len(golden["golden"]["pictures"]) if golden else 0
        return found | alike | placed | golden | {"notes": [told_of(places, others)]}

    def against(self, reference: Mapping[str, Any]) -> TilesView:
        """The same view, in units of a reference; raises DataError for another view's."""
        usual_of(reference)
        usual_without(reference)
        learnt_of(reference)
        places_of(reference)
        golden_of(reference)
        golden_without(reference)
        return TilesView(reference)


def _usual_of_each(textures: Sequence[Texture], reference: Mapping[str, Any]) -> list[tuple[Usual, ...]]:
    """The units of the levels of each held-out normal, as `TilesView.prepare` has them."""
    usual, without, learnt = usual_of(reference), usual_without(reference), learnt_of(reference)
    own = [without.get(int(name), usual) for name in reference["without"]["of"]]
    if learnt is None:
        return own
    return [learnt.usual_for(texture, each) for texture, each in zip(textures, own, strict=True)]


def _notes(sample: Sequence[Measured], size: int, settings: Settings) -> list[str]:
    """How these images are looked at."""
    height, width = (median(sides) for sides in zip(*((each.height, each.width) for each in sample), strict=True))
    scale = settings.data.scale
    at = "native resolution" if scale is None else f"{scale:g} of their resolution"
    one = f"images of about {width:.0f} x {height:.0f} pixels"
    notes = [f"{one}: looked at in tiles of {size} x {size} at {at}; data.view=whole resizes them instead"]
    small = sum(max(scaled_shape((each.height, each.width), scale)) < size for each in sample)
    if small:
        notes.append(
            f"{small} of {len(sample)} images sampled are smaller than a tile and mirrored up to it: a smaller "
            "--image-size, or data.view=whole, shows more of them"
        )
    return notes
