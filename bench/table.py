"""Prints one measured number in its row."""

from __future__ import annotations


def show(what: str, value: str, note: str = "") -> None:
    print(f"{what:72} {value:>20}   {note}", flush=True)
