"""The public constructs: `Milepost`, `MilepostApp`, and the packing of their Lambdas."""

from .milepost import Milepost
from .milepost_app import MilepostApp
from .packing import AppSource, Assets, Platform, WheelAssets

__all__ = ["AppSource", "Assets", "Milepost", "MilepostApp", "Platform", "WheelAssets"]
