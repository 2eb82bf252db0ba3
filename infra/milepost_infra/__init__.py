"""What a CDK app imports: `Milepost`, `MilepostApp`, and how their Lambdas are packed."""

from .milepost import Milepost
from .milepost_app import MilepostApp
from .packing import AppSource, Assets, Platform, WheelAssets

__all__ = ["AppSource", "Assets", "Milepost", "MilepostApp", "Platform", "WheelAssets"]
