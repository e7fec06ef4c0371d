"""Near-duplicates among images that nobody has grouped: frames of a burst, photographs of one part, repeated exposures.

Independent images of one kind may resemble each other too - two digits 1, two pieces of one fabric - but then they
do so at all distances: around an image the k nearest others fill a ball whose volume grows with k. With d the intrinsic
dimension and r_k the distance of the k-th nearest, (r_k / r_k+1)^d is uniform to the power 1 / k (Facco et al.,
"Estimating the intrinsic dimension by a two-nearest-neighbour method", Sci. Rep. 7, 2017): a gap in these distances is
improbable, and how improbable is known. Around a frame of a burst there is a gap: the other frames, then nothing.

    distance   of two descriptors, after a small shift and a change of brightness or contrast that bring them nearest:
               the tangent distance at their mean (Simard et al., NIPS 1992)
    cluster    images of a single-linkage tree whose longest link is at most half as long as the way to any other image,
               which has probability n (1 / 2)^(d (m - 1)) at most for m of n independent images
    evenness   e, the median over images of the smallest r_k / r_k+1. In independent sets e^d is 0.36 for many images,
               and 0.13 or more in those that were tried; where most images belong to bursts it is 0.07 or less. Then
               images nearer than the gap of their set are linked, and clusters with links up to three quarters taken
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.neighbors import NearestNeighbors

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Clusters = tuple[tuple[int, ...], ...]

SIDE = 16  # of the descriptor: small shifts are smaller than its pixels
FEW, MOST, PAIRS = 6, 64, 100_000  # neighbours of each image, as many as make this number of pairs
SEEN_BY, SEEN = 25, 1000  # images whose distances to so many others are looked at as a whole
BLOCK = 10_000  # images compared with each other: those of a burst lie beside each other by their names
GAP, GAP_IN_BURSTS = 0.5, 0.75
LONGEST = 0.35  # of the typical distance: longest link within a cluster
UNEVEN, UNLIKELY = 0.7, 0.1  # a set consists of bursts where e and e^d are below
IMPROBABLE = 1e-3  # expected clusters in a set of independent images
FEWEST = 8  # groups that must be left: five kinds of screws are no five bursts


@dataclass(frozen=True)
class Near:
    """What resembles what in a set of n images."""

    clusters: Clusters  # ascending positions of near-identical images, at least two each
    neighbours: Numbers  # (n, K) the most similar images of each, the nearest first
    distances: Floats  # (n, K) to them; 1 is the typical distance of two images
    bursts: bool  # whether the set as a whole consists of them


def describe(images: torch.Tensor) -> Floats:
    """Descriptors (B, 288) of model squares (B, C, S, S), S at least 16: brightness at 16 x 16 and colour at 4 x 4."""
    grey = torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), SIDE).flatten(1)
    colour = torch.nn.functional.adaptive_avg_pool2d(images - images.mean(1, keepdim=True), 4)
    two = torch.cat([colour[:, :1], colour[:, -1:]], 1).flatten(1) * (SIDE / 4)  # a cell stands for 16 pixels
    return torch.cat([grey - grey.mean(1, keepdim=True), two], 1).numpy()


def find_near(descriptors: Floats) -> Near:
    """The near-duplicates in a set, by the descriptors (n, 288) of its images in the order of their names."""
    n = len(descriptors)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    found = [_in_block(descriptors[block]) for block in blocks]
    clusters = [
        tuple(member + block.start for member in each)
        for block, near in zip(blocks, found, strict=True)
        for each in near.clusters
    ]
    width = min(near.neighbours.shape[1] for near in found)
    return Near(
        tuple(clusters),
        np.concatenate([near.neighbours[:, :width] + b.start for b, near in zip(blocks, found, strict=True)]),
        np.concatenate([near.distances[:, :width] for near in found]),
        sum(near.bursts for near in found) > len(found) / 2,
    )


def nearest_ratio(near: Near, training: Numbers, heldout: Numbers) -> float:
    """Median distance of held-out images to the nearest training image, where 1 is typical of two images."""
    trained = np.zeros(len(near.neighbours), bool)
    trained[training] = True
    distances = np.where(trained[near.neighbours[heldout]], near.distances[heldout], np.inf).min(1)
    return float(np.median(np.minimum(distances, np.maximum(near.distances[heldout, -1], 1.0))))


def _in_block(x: Floats) -> Near:
    n = len(x)
    count = min(max(FEW, min(MOST, PAIRS // max(n, 1))), n - 1)
    nothing = Near((), np.zeros((n, 1), np.int64), np.full((n, 1), np.inf, np.float32), False)
    if n < FEWEST:
        return nothing
    tangents = _tangents(x)
    pairs = np.random.default_rng(0).integers(n, size=(2, 4000))
    pairs = pairs[:, pairs[0] != pairs[1]]
    typical = float(np.median(_distances(x, tangents, pairs[0], pairs[1])))
    if typical <= 1e-6:
        return nothing
    search = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(x)
    others = _without_self(search.kneighbors(x, return_distance=False))
    rows = np.repeat(np.arange(n), count)
    found = np.maximum(_distances(x, tangents, rows, others.ravel()).reshape(n, count) / typical, 1e-3)
    order = np.argsort(found, 1, kind="stable")
    neighbours, distances = np.take_along_axis(others, order, 1), np.take_along_axis(found, order, 1)
    width = max(2, n // FEWEST)  # of more than that there are no bursts, but kinds of images
    samples = [_sample(x, tangents, chosen) / typical for chosen in _samples(n)]
    evenness, sample = min(((_evenness(each), each) for each in samples), key=lambda pair: pair[0])
    evenness = min(evenness, _evenness(distances[:, :width]))
    bursts = evenness < UNEVEN and evenness ** _dimension(distances) < UNLIKELY
    ways = [_tree_clusters(neighbours, distances, GAP)]
    if bursts:
        short = _linked(neighbours, distances, _scale(sample))
        ways = [_joined(short, _tree_clusters(neighbours, distances, GAP_IN_BURSTS)), short]
    labels = next((each for each in ways if len(np.unique(each)) >= FEWEST), np.arange(n))
    return Near(_together(labels), neighbours, distances, bursts)


def _evenness(distances: Floats) -> float:
    """Of images by their distances (q, K), ascending: the median of the smallest r_k / r_k+1."""
    return float(np.median((distances[:, :-1] / distances[:, 1:]).min(1)))


def _samples(n: int) -> list[Numbers]:
    """Images beside each other, as those of a burst are, and images from all over the set, for large bursts."""
    size = min(n, SEEN)
    beside = np.arange(size) + (n - size) // 2
    return [beside] if size == n else [beside, np.linspace(0, n - 1, size).astype(np.int64)]


def _sample(x: Floats, tangents: Floats, chosen: Numbers) -> Floats:
    """(q, K) ascending distances of some of the chosen images to the nearest others among them."""
    size = len(chosen)
    queries = np.linspace(0, size - 1, min(SEEN_BY, size)).astype(np.int64)
    first, second = np.repeat(queries, size), np.tile(np.arange(size), len(queries))
    keep = first != second
    found = _distances(x, tangents, chosen[first[keep]], chosen[second[keep]]).reshape(len(queries), size - 1)
    return np.maximum(np.sort(found, 1)[:, : max(2, size // FEWEST)], 1e-9)


def _without_self(nearest: Numbers) -> Numbers:
    """(n, K + 1) nearest images -> (n, K) others; of equal images any may be named first."""
    n = len(nearest)
    own = nearest == np.arange(n)[:, None]
    own[~own.any(1), -1] = True
    others: Numbers = nearest[~own].reshape(n, -1)
    return others


def _tangents(x: Floats) -> Floats:
    """(n, 288, 3) how a descriptor changes with contrast and with shifts down and right."""
    pixels = SIDE * SIDE
    square = x[:, :pixels].reshape(-1, SIDE, SIDE)
    down, right = (np.asarray(np.gradient(square, axis=axis), np.float32) for axis in (1, 2))
    moves = np.stack([np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)], 2)
    moves[:, :, 0] = x
    moves[:, :pixels, 1], moves[:, :pixels, 2] = down.reshape(len(x), -1), right.reshape(len(x), -1)
    moves[:, :pixels] -= moves[:, :pixels].mean(1, keepdims=True)
    return moves


def _distances(x: Floats, tangents: Floats, first: Numbers, second: Numbers) -> Floats:
    """(p,) tangent distances of p pairs."""
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        a, b = first[start : start + BLOCK], second[start : start + BLOCK]
        between, moves = x[b] - x[a], tangents[a] + tangents[b]  # (p, D), (p, D, 3)
        products = moves.transpose(0, 2, 1) @ moves
        size = np.trace(products, axis1=1, axis2=2)[:, None, None]
        products = products + (1e-4 * size + 1e-9) * np.eye(3, dtype=np.float32)  # a flat image has no tangents
        steps = np.linalg.solve(products, moves.transpose(0, 2, 1) @ between[:, :, None])
        found[start : start + BLOCK] = np.linalg.norm(between - (moves @ steps)[:, :, 0], axis=1)
    return found


def _dimension(distances: Floats) -> float:
    """Of the set: the largest that is seen from r_1 to r_2, r_2 to r_4 ...; bursts make it small near an image."""
    seen = [
        np.log(2) / np.log(max(float(np.median(distances[:, 2 * k - 1] / distances[:, k - 1])), 1.001))
        for k in (1, 2, 4, 8)
        if 2 * k <= distances.shape[1]
    ]
    return max(seen, default=1.0)


def _scale(sample: Floats) -> float:
    """A distance between that of images of one burst and that of others: in the widest gap, in the middle of both."""
    widest = (sample[:, :-1] / sample[:, 1:]).argmin(1)[:, None]
    within, beyond = np.take_along_axis(sample, widest, 1), np.take_along_axis(sample, widest + 1, 1)
    return float(np.median(np.sqrt(within * beyond)))


def _linked(neighbours: Numbers, distances: Floats, scale: float) -> Numbers:
    """(n,) a label for all images that ways shorter than `scale` link."""
    n, count = neighbours.shape
    short = distances.ravel() < scale
    links = np.repeat(np.arange(n), count)[short], neighbours.ravel()[short]
    return _components(links[0], links[1], n)


def _joined(one: Numbers, other: Numbers) -> Numbers:
    """(n,) labels where images with the same label in either have one."""
    n = len(one)
    return _components(np.tile(np.arange(n), 2), np.concatenate([n + one, 2 * n + other]), 3 * n)[:n]


def _components(first: Numbers, second: Numbers, size: int) -> Numbers:
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(size, size))
    labels: Numbers = connected_components(graph, directed=False)[1]
    return labels


def _tree_clusters(neighbours: Numbers, distances: Floats, gap: float) -> Numbers:
    """(n,) the first member of the outermost cluster of the single-linkage tree that each image is in, else itself."""
    n, count = neighbours.shape
    dimension = 0.8 * _dimension(distances)  # a margin: the estimate of a small set is uncertain
    links = (distances.ravel(), (np.repeat(np.arange(n), count), neighbours.ravel()))
    tree = minimum_spanning_tree(coo_array(links, shape=(n, n)).tocsr()).tocoo()
    parent, members = list(range(n)), [[i] for i in range(n)]
    longest, beyond = [0.0] * n, distances[:, -1].tolist()  # link within; where unseen images may begin
    label = np.arange(n)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def take(i: int, way: float) -> None:
        size, link = len(members[i]), longest[i]
        if size > 1 and link < gap * way and link < LONGEST and 2 * size <= n:
            expected = n * (link / way) ** (dimension * (size - 1))
            if expected < IMPROBABLE:
                label[members[i]] = members[i][0]

    for edge in np.argsort(tree.data, kind="stable"):
        way, (a, b) = float(tree.data[edge]), sorted((root(int(tree.row[edge])), root(int(tree.col[edge]))))
        take(a, min(way, beyond[a]))
        take(b, min(way, beyond[b]))
        a, b = (a, b) if len(members[a]) >= len(members[b]) else (b, a)
        parent[b], longest[a], beyond[a] = a, way, min(beyond[a], beyond[b])
        members[a] += members[b]
    for i in {root(i) for i in range(n)}:
        take(i, beyond[i])
    return label


def _together(labels: Numbers) -> Clusters:
    together: dict[int, list[int]] = {}
    for position, name in enumerate(labels.tolist()):
        together.setdefault(name, []).append(position)
    return tuple(tuple(each) for each in together.values() if len(each) > 1)
