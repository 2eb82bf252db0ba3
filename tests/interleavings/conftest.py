"""Prints what was explored, and up to how many pre-emptions nothing was left out, after the tests."""

import pytest

_LINES: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Reports reach the process that prints, whichever process ran the test.
    if report.when == "call":
        _LINES.extend(str(value) for name, value in report.user_properties if name == "explored")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _LINES:
        terminalreporter.section("explored interleavings")
        for line in sorted(_LINES):
            terminalreporter.line(line)
