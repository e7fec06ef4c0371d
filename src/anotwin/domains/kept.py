"""Results of images of few squares: all of them are kept, until heat or pictures are made of them together."""

from __future__ import annotations

from collections.abc import Callable

import torch

from anotwin.records import Array, Pictures


class KeptResults:
    """See `anotwin.domains.protocol.Results`.

    Args:
        heat: the heat (P, S, S) of the squares -> where they show the image, in any shape.
        native: counterparts (P, C, S, S), differences (P, C, S, S), heat (P, S, S) and the heat that counts as 1 ->
            in the pixels of the file.
    """

    def __init__(
        self,
        heat: Callable[[Array], Array],
        native: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], Pictures],
    ) -> None:
        self._heat, self._native = heat, native
        self._pieces: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def take(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor) -> None:
        """Keep the next ones."""
        self._pieces.append((counterparts, differences, heat))

    def heat_of_squares(self) -> Array:
        """(P, S, S) as the method gave it."""
        return torch.cat([heat for _, _, heat in self._pieces]).numpy()

    def heat(self) -> Array:
        """Where the squares show the image."""
        return self._heat(self.heat_of_squares())

    def pictures(self, one: float) -> Pictures:
        """In the pixels of the file."""
        counterparts, differences, heat = (torch.cat(parts) for parts in zip(*self._pieces, strict=True))
        return self._native(counterparts, differences, heat, one)
