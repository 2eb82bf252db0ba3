"""What the template has is explained in the documentation, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aws_cdk import Duration

from .rig import make, synthesised

DOCS = Path(__file__).parents[2] / "docs"


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", (DOCS / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alarm_leads_to_what_it_means_and_what_to_do(full: Any, tmp_path: Path):
    patient = synthesised(lambda app: make(tmp_path, app=app, app_options={"timeout": Duration.minutes(10)}))
    links = {
        found.groups() if (found := re.search(r"docs/(\w+\.md)#(\w+)\.$", alarm["AlarmDescription"])) else ("", "")
        for made in (full, patient)
        for alarm in made.all("AWS::CloudWatch::Alarm").values()
    }
    assert {page for page, _ in links} == {"operating.md"}
    text = (DOCS / "operating.md").read_text()
    explained = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    assert {anchor for _, anchor in links} == {name.lower() for name in explained}
    assert [
        name for name, meaning in explained.items() if "**Means:**" not in meaning or "**Do:**" not in meaning
    ] == []


def test_every_dead_letter_alarm_is_documented_by_name(full: Any):
    names = re.findall(r"Alarms(DeadLetters[A-Za-z]+?)[0-9A-F]{8}", " ".join(full.all("AWS::CloudWatch::Alarm")))
    assert len(names) >= 3
    text = (DOCS / "operating.md").read_text()
    assert [name for name in names if name not in text] == []


def test_every_action_that_a_role_is_granted_stands_in_the_page_about_permissions(full: Any):
    text = (DOCS / "permissions.md").read_text()
    granted: set[str] = set()
    for policy in full.all("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            granted |= {actions} if isinstance(actions, str) else set(actions)
    assert "dynamodb:PutItem" in granted
    assert sorted(action for action in granted if action not in text) == []


def test_every_heading_that_another_page_leads_to_exists():
    links = [
        (page.name, target, anchor)
        for page in DOCS.glob("*.md")
        for target, anchor in re.findall(r"\]\((\w[\w-]*\.md)#([\w-]+)\)", page.read_text())
    ]
    assert links
    assert [link for link in links if link[2] not in anchors(link[1])] == []
