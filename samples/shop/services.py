"""Stub payment, database and mail services that can be made to fail.

    python -m samples.shop.services break database
    python -m samples.shop.services fix database
    python -m samples.shop.services list
Broken services are listed in a small file, so that a running dev server notices at once; in a Lambda, the environment
variable SHOP_BROKEN lists them, separated by commas. Each call is written to a ledger in the same folder, to show
how often a card was charged.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

SERVICES = ("payment", "database", "mail")
_log = logging.getLogger("shop.services")


def folder() -> Path:
    """Folder of the switches and the ledger: SHOP_FOLDER, or a folder of this user in the temporary directory."""
    default = Path(tempfile.gettempdir()) / f"milepost-shop-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    path = Path(os.environ.get("SHOP_FOLDER", default))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def broken() -> set[str]:
    """The services that currently fail."""
    names = {name.strip() for name in os.environ.get("SHOP_BROKEN", "").split(",") if name.strip()}
    switches = folder() / "broken.json"
    return names | set(json.loads(switches.read_text())) if switches.exists() else names


def switch(name: str, *, fails: bool) -> None:
    """Break or fix a service."""
    now = broken() | {name} if fails else broken() - {name}
    staged = folder() / "broken.json.new"
    staged.write_text(json.dumps(sorted(now)))
    staged.replace(folder() / "broken.json")


class ServiceDownError(Exception):
    """A stub service was broken on purpose."""


def _call(service: str, what: str, **details: object) -> str:
    _log.info("asking the %s service to %s", service, what)
    if service in broken():
        raise ServiceDownError(f"the {service} service is down (fix it: python -m samples.shop.services fix {service})")
    entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "service": service, "what": what, **details}
    with (folder() / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps(entry) + "\n")
    return f"{service}-{what}-{details.get('key', '')}"


def charge(order_id: str, cents: int) -> str:
    """Charge a card; returns the payment's id."""
    return _call("payment", "charge", key=order_id, cents=cents)


def refund(order_id: str) -> str:
    return _call("payment", "refund", key=order_id)


def insert(table: str, key: str, **row: object) -> str:
    """Write a row; returns its id."""
    return _call("database", f"insert into {table}", key=key, row=row)


def count(table: str) -> int:
    """How many rows a table has."""
    _call("database", f"count {table}")
    return sum(entry["what"] == f"insert into {table}" for entry in ledger())


def mail(to: str, subject: str) -> str:
    """Send a mail; returns its id."""
    return _call("mail", "send", key=to, subject=subject)


def ledger() -> list[dict[str, str]]:
    """All successful calls, oldest first."""
    path = folder() / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(arguments: list[str]) -> int:
    """The command line; exit code 2 for unknown arguments."""
    match arguments:
        case ["break" | "fix" as verb, name] if name in SERVICES:
            switch(name, fails=verb == "break")
        case ["list"]:
            pass
        case _:
            print(f"usage: python -m samples.shop.services break|fix {'|'.join(SERVICES)}\n       … list")
            return 2
    for name in SERVICES:
        print(f"{name:9} {'BROKEN' if name in broken() else 'ok'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
