"""What is marked in a frame of an event."""

from __future__ import annotations

from anotwin.domains.protocol import Model
from anotwin.domains.regions import regions_of
from anotwin.domains.video.tracks import Box, box_of
from anotwin.records import Finding


def marked_boxes(finding: Finding, model: Model) -> tuple[Box, ...]:
    """The regions of a frame that can be of an event, at least one; () of others, and where nothing is calibrated."""
    calibration = model.calibration
    if calibration is None or calibration.alarms is None or calibration.region_limit is None:
        return ()
    if finding.heatmap is None or not finding.score > calibration.alarms.leave:
        return ()
    regions, _ = regions_of(finding.heatmap, calibration.region_limit, model.settings.calibration.least_area)
    return tuple(map(box_of, regions))
