"""What would act on a terminal, or hide, is written as an escape; all other text stays as it is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from milepost_console.visible import visible, visible_json

SHOWN_FORMAT = {0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Of the category Format: joiners, and signs of Arabic, Syriac and Kaithi that are drawn."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order/created", "order/created"),
        ("naïve Größe 注文 🏳️‍🌈 می‌خواهم", "naïve Größe 注文 🏳️‍🌈 می‌خواهم"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;t\x07", r"\x1b]0;t\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("a\x00b\x7f", r"a\x00b\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\u200b\ufeff", r"a\u2028b\u200b\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_a_text_is_shown_on_one_line(text: str, shown: str):
    assert visible(text) == shown


def test_lines_are_kept_if_asked_for_and_nothing_else_is():
    assert visible("a\r\n\tb\n\x1b[1m\rc\u2028d", keep_lines=True) == "a\n    b\n\\x1b[1m\\rc\\u2028d"


def test_every_control_and_format_character_of_unicode_is_escaped():
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        if unicodedata.category(letter) == "Cn":
            continue  # not assigned yet; some are reserved for characters that hide
        acts = unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and number not in SHOWN_FORMAT
        assert (visible(letter) != letter) is acts, hex(number)
        if acts:
            assert visible(letter).isascii()
            assert visible(letter).isprintable()


@pytest.mark.parametrize("text", ["\x1b\x7f\x9b", "\u202e\u2028\ufeff", "\U000e0041é", "plain"])
def test_json_means_the_same(text: str):
    shown = visible_json(json.dumps({"text": text, text: [text]}, indent=2, ensure_ascii=False))
    assert json.loads(shown) == {"text": text, text: [text]}
    assert all(line == visible(line) for line in shown.split("\n"))


def test_a_lone_surrogate_in_json_can_be_written():
    shown = visible_json(json.dumps("\ud800", ensure_ascii=False))
    assert (shown, shown.encode()) == (r'"\ud800"', rb'"\ud800"')
