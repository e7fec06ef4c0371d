"""AnoTwin: image anomaly detection that learns normal from normal images alone and shows the counterpart.

A public name is loaded when it is first used: ``anotwin --help`` and the parts without torch do not wait for it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anotwin.detector import Detector
    from anotwin.errors import AnoTwinError, BundleError, DataError, MissingExtra, SettingsError, TrainingDiverged
    from anotwin.records import Calibration, Finding, ImageSpec, Status
    from anotwin.settings import Settings
    from anotwin.translator import Translator

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
    "Translator",
]

if not TYPE_CHECKING:  # type checkers read the imports above and so know which names do not exist
    from importlib import import_module

    _MODULES = ("errors", "settings", "records", "detector", "translator")  # cheapest first; the last ones load torch

    def __getattr__(name):
        if name in __all__:
            for each in _MODULES:
                module = import_module(f"anotwin.{each}")
                if getattr(vars(module).get(name), "__module__", None) == module.__name__:
                    globals()[name] = vars(module)[name]
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
