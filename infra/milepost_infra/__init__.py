"""The public constructs: `Milepost`, `MilepostApp`, and the packing of their Lambdas."""

from .alarms import AlarmSettings
from .milepost import Milepost
from .milepost_app import MilepostApp
from .packing import AppSource, Assets, Platform, WheelAssets

__all__ = ["AlarmSettings", "AppSource", "Assets", "Milepost", "MilepostApp", "Platform", "WheelAssets"]
