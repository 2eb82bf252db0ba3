"""The one switch of the whole suite: `--thorough` runs what takes minutes, and takes nothing away."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="tell every story in every place, over DynamoDB Local too, and try thousands of random schedules",
    )


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--thorough"))
