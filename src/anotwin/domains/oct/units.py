"""Volumes and patients: what slices show together, with one score each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

from anotwin.domains.groups import group_units
from anotwin.domains.oct.records import ScanSource
from anotwin.domains.protocol import Unit
from anotwin.prepare.patches import pool
from anotwin.records import ImageSource

VOLUME, PATIENT = "volume", "patient"


def scan_units(source: ImageSource, scores: Mapping[int, float]) -> dict[str, Sequence[Unit]]:
    """Slices are pooled into their volume, volumes into their patient; see `anotwin.domains.protocol.Domain.units`.

    Scans without a known patient are in no patient. Groups are a kind of their own where they are neither.
    """
    if not isinstance(source, ScanSource):
        return group_units(source, scores)
    volumes: list[Unit] = []
    by_patient: dict[str, list[Unit]] = defaultdict(list)
    for slices in source.volumes():
        members = tuple(index for index in slices if index in scores)
        if not members:
            continue
        info = source.info(slices[0])
        volumes.append(Unit(info.volume, members, pool([scores[index] for index in members])))
        if info.patient is not None:
            by_patient[info.patient].append(volumes[-1])
    found: dict[str, Sequence[Unit]] = {VOLUME: volumes}
    if by_patient:
        found[PATIENT] = [
            Unit(patient, tuple(chain.from_iterable(each.members for each in own)), pool([each.score for each in own]))
            for patient, own in by_patient.items()
        ]
    return found | (group_units(source, scores) if other_groups(source) else {})


def other_groups(source: ImageSource) -> bool:
    """Whether images have groups that are neither patients nor volumes."""
    if not isinstance(source, ScanSource):
        return True
    infos = (source.info(index) for index in range(len(source.items)))
    return any(
        item.group not in (None, info.patient, info.volume) for item, info in zip(source.items, infos, strict=True)
    )
