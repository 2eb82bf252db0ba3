"""The distributions of this tree, built once as a release builds them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tools.distributions import Distributions, build

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(ROOT, tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="session")
def wheel(distributions: Distributions) -> Path:
    return distributions.wheel


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the packages of the wheel, and nothing else."""
    site = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(site)
    return site
