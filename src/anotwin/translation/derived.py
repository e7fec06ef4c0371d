"""What sources have in common whose images are made of those of another source."""

from __future__ import annotations

from anotwin.records import ImageItem, ImageSource


class Derived:
    """The names of `source`, without masks; a source adds how an image is read."""

    source: ImageSource

    @property
    def layout(self) -> str:
        return self.source.layout

    @property
    def root(self) -> str:
        return self.source.root

    @property
    def items(self) -> tuple[ImageItem, ...]:
        return self.source.items

    def read_mask(self, index: int) -> None:
        """None: there are no masks."""
