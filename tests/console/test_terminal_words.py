"""Durations and event names are shown as people read them; the terminal and the dashboard use the same words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from milepost.protocol import EventName
from milepost_console.dev.event_word import event_word
from milepost_console.dev.terminal import length
from milepost_console.server.backend import STATIC_FOLDER


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (timedelta(milliseconds=12), "12 ms"),
        (timedelta(seconds=1.44), "1.4 s"),
        (timedelta(minutes=3, seconds=5), "3 min 5 s"),
        (timedelta(days=1), "1 day"),
        (timedelta(weeks=1, days=1), "8 days"),
        (timedelta(days=2, hours=4, seconds=7), "2 days 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(span: timedelta, shown: str):
    assert length(span) == shown


def test_the_engines_own_events_have_the_same_words_in_the_terminal_and_in_the_dashboard():
    script = (STATIC_FOLDER / "js" / "pages" / "words.js").read_text()
    for name in EventName:
        word = event_word(name)
        assert "inngest" not in word
        assert f'"{name}": "{word}"' in script


def test_an_event_of_an_app_is_shown_by_its_own_name():
    assert event_word("order/created") == "order/created"
