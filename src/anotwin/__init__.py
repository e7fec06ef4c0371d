"""AnoTwin: image anomaly detection that learns normal from normal images alone and shows the counterpart."""

from anotwin.detector import Detector
from anotwin.errors import AnoTwinError, BundleError, DataError, MissingExtra, SettingsError, TrainingDiverged
from anotwin.records import Calibration, Finding, ImageSpec, Status
from anotwin.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "AnoTwinError",
    "BundleError",
    "Calibration",
    "DataError",
    "Detector",
    "Finding",
    "ImageSpec",
    "MissingExtra",
    "Settings",
    "SettingsError",
    "Status",
    "TrainingDiverged",
]
