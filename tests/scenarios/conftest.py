"""Every story runs over SQLite and over moto; with `--thorough` over Amazon's DynamoDB Local too."""

import pytest

from tests.contract.conftest import dynamodb_endpoint

from .rig import PLACE

__all__ = ["dynamodb_endpoint"]

TOO_MUCH_FOR_MOTO = ("crowded", "patient")
DYNAMODB_LOCAL = pytest.param("dynamodb_local", marks=pytest.mark.dynamodb_local)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    places: list[object] = ["sqlite"]
    # A query of moto goes through the whole table, and winding a day takes 1,440 ticks of several queries each.
    if not any(metafunc.definition.get_closest_marker(marker) for marker in TOO_MUCH_FOR_MOTO):
        places.append("moto")
    if metafunc.config.getoption("--thorough"):
        places.append(DYNAMODB_LOCAL)
    metafunc.parametrize("place", places, indirect=True)


@pytest.fixture(autouse=True)
def place(request: pytest.FixtureRequest) -> None:
    """Where the rig of a test keeps its things."""
    local = request.param == "dynamodb_local"
    PLACE.set(request.getfixturevalue("dynamodb_endpoint") if local else request.param)
