"""The masks of an evaluation: how many there are, what is wrong with them, and what the pixel metrics leave out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.records import ImageSource

NEARLY_ALL = 0.95  # of an image's pixels: a defect is rarely so large
LISTED = 20  # bad masks in the JSON


class MaskReport:
    """The masks of the images that are evaluated. Sizes are checked at once, by headers; values when they are read."""

    def __init__(self, source: ImageSource, indices: Sequence[int]) -> None:
        self._source = source
        items = {index: source.items[index] for index in indices}
        self.abnormal = sum(item.normal is False for item in items.values())
        self.without = tuple(item.id for item in items.values() if item.normal is False and not item.mask)
        self.unused = tuple(getattr(source, "unused_masks", ()))
        check = getattr(source, "check_mask", None)
        masked = [index for index, item in items.items() if item.mask]
        self.bad = {index: problem for index in masked if check and (problem := check(index))}
        self._told = len(self.bad)
        self._usable = {index for index in masked if index not in self.bad}
        self.marked_normals = 0
        self.shares: dict[int, float] = {}  # of the pixels that each mask marks

    @property
    def any(self) -> bool:
        """Whether there are masks to measure by."""
        return bool(self._usable)

    def read(self, index: int) -> npt.NDArray[np.bool_] | None:
        """The mask of an image, None where there is none that can be used."""
        item = self._source.items[index]
        if index in self.bad:
            return None
        try:
            mask = self._source.read_mask(index)
        except DataError as error:
            self.bad[index] = str(error)
            return None
        if mask is None or item.normal is not False:
            self.marked_normals += bool(item.mask and mask is not None and mask.any())
            return mask
        self.shares[index] = float(mask.mean())
        return mask if mask.any() else None  # an abnormal image whose defect nobody has drawn

    def counted(self) -> str:
        """How many masks there are, before anything is scored; and the first that cannot be used."""
        with_mask = sum(self._source.items[index].normal is False for index in self._usable)
        told = f"masks: {with_mask} of {self.abnormal} abnormal images, {len(self.unused)} files unused"
        if self.bad:
            told += f"; {len(self.bad)} cannot be used, the first: {next(iter(self.bad.values()))}"
        return told

    def notes(self) -> list[str]:
        """What was found when the masks were read, beside what `counted` has told."""
        notes = []
        if self.without and self.any:
            notes.append(
                f"{len(self.without)} abnormal images have no mask: they are left out of the pixel metrics (the first: "
                f"{self.without[0]})"
            )
        later = list(self.bad.values())[self._told :]
        if later:
            notes.append(
                f"{len(later)} masks cannot be read, their images are left out of the pixel metrics: {later[0]}"
            )
        for which, told in (
            (self._where(lambda share: share == 0), "nothing: the images are left out of the pixel metrics"),
            (self._where(lambda share: share > NEARLY_ALL), f"more than {NEARLY_ALL:.0%} of the image"),
        ):
            if which:
                notes.append(f"masks of {len(which)} abnormal images mark {told} (the first: {which[0]})")
        if self.marked_normals:
            notes.append(f"masks of {self.marked_normals} images that count as normal mark something")
        if self.inverted:
            notes.append(
                f"the masks look inverted: {len(self._where(_most))} of {len(self.shares)} mark more than half of "
                "the image, so that pixel_auroc and aupro measure the background; white must mean abnormal"
            )
        return notes

    @property
    def inverted(self) -> bool:
        """Whether most masks mark most of their image."""
        return len(self._where(_most)) * 2 > len(self.shares)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = self._source.items
        abnormal = [index for index in self._usable if names[index].normal is False and index not in self.bad]
        return {
            "abnormal_images": self.abnormal,
            "with_mask": len(abnormal),
            "unused_files": len(self.unused),
            "not_usable": [f"{names[index].id}: {why}" for index, why in list(self.bad.items())[:LISTED]],
            "marking_nothing": len(self._where(lambda share: share == 0)),
            "marking_nearly_all": len(self._where(lambda share: share > NEARLY_ALL)),
            "marking_normals": self.marked_normals,
            "look_inverted": self.inverted,
        }

    def _where(self, fits: Callable[[float], bool]) -> list[str]:
        """Abnormal images of which the share of marked pixels fits."""
        return [self._source.items[index].id for index, share in self.shares.items() if fits(share)]


def _most(share: float) -> bool:
    return share > 0.5
