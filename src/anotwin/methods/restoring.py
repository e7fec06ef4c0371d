"""What methods that restore have in common: the comparing network's score, and the critique of patches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from anotwin.compare.score import comparison
from anotwin.compare.side_by_side import heat_of_mask, hottest, log_odds, stacked
from anotwin.methods.networks import Critique
from anotwin.methods.protocol import Method, device_of, folded, freeze
from anotwin.methods.unet import PatchCritique
from anotwin.records import Comparison
from anotwin.search.inference import FoldedNetwork, search_dtype
from anotwin.settings import Settings

EXACT = "comparer", "ways", "other_ways"  # what these say is divided by what is usual, or decides
AT_ONCE = 8  # squares through a network: never more or fewer, because a CPU adds in another order for other numbers


def in_eights(network: Callable[[torch.Tensor], Any], images: torch.Tensor) -> Any:
    """What a network returns of images (B, C, S, S), tensors (B, ...), none of which depends on how many there are."""
    with torch.no_grad():
        full = torch.cat([images, images[-1:].expand(-len(images) % AT_ONCE, -1, -1, -1)])
        parts = [network(part) for part in torch.split(full, AT_ONCE)]
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)[: len(images)]
    return type(parts[0])(*(torch.cat(each)[: len(images)] for each in zip(*parts, strict=True)))


def folded_unets(method: Method) -> Method:
    """As `folded`, but the pixels that a network copies, and what those of `EXACT` say, keep all their digits."""
    fast = folded(method)
    low = search_dtype(method.settings.search.precision, device_of(method.networks))
    for name, network in method.networks.items():
        unet = getattr(network, "unet", None)
        if isinstance(unet, nn.Module):
            fast.networks[name] = copy.deepcopy(network)
            fast.networks[name].unet = FoldedNetwork(unet, torch.float32 if name in EXACT else low)
        elif name == "generator":  # draws every pixel that the comparer sees in spreads of the query
            fast.networks[name] = FoldedNetwork(network, torch.float32)
    freeze(fast.networks)
    return fast


def compared(
    networks: nn.ModuleDict,
    queries: torch.Tensor,
    counterparts: torch.Tensor,
    settings: Settings,
    logits: torch.Tensor,
    gate: torch.Tensor | None = None,
) -> Comparison:
    """Queries (B, C, S, S) beside their counterparts, by the network "comparer"; `logits` (B,) are the discriminator's.

    `gate` (B, 1, S, S): logits of what the restorer took for wrong, averaged with the comparer's.

    D: log odds of the mean of the hottest pixels; R: mean residual of the hottest; A: D + the decision on the square.
    """
    queries = queries.to(counterparts.device)
    differences = queries - counterparts
    mask, decision = in_eights(networks["comparer"], stacked(queries, counterparts))
    heat = heat_of_mask(mask if gate is None else (mask + gate) / 2, differences)
    found, residual = log_odds(hottest(heat)), hottest(differences.abs().mean(1) / 2)
    return comparison(
        queries,
        counterparts,
        residual=residual,
        discrimination=found,
        total=found + decision,
        query_logits=logits,
        settings=settings.compare,
        heat=heat,
    )


def patch_critique(networks: nn.ModuleDict, images: torch.Tensor) -> Critique:
    """What the "discriminator" of patches says of images (B, C, S, S): mean logits, and the mean of each channel."""
    images = images.to(device_of(networks))
    return in_eights(lambda part: _critique(networks["discriminator"](part)), images)  # type: ignore[no-any-return]


def _critique(found: PatchCritique) -> Critique:
    return Critique(found.logits.mean((1, 2, 3)), found.features.mean((2, 3)))
