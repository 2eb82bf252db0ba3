"""The command line against a real server: what it prints, as words and as JSON, and with which code it ends.

0 done · 1 failed · 2 wrong usage · 3 no server answers
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from milepost import App, Cancel, Context, Event, NonRetriableError

from .command import Command
from .process import MILEPOST, free_port
from .served import Served, served, until


def shop() -> App:
    app = App("shop")

    @app.function(id="order", trigger=Event("order/created"), retries=0, cancel_on=[Cancel("order/cancelled")])
    async def order(ctx: Context) -> str:
        paid = await ctx.step.run("pay", lambda: "paid")

        def send() -> str:
            if ctx.event.data.get("bad"):
                raise NonRetriableError("no such address")
            return "sent"

        await ctx.step.run("send", send)
        return paid

    @app.function(id="talk", trigger=Event("talk"))
    async def talk(ctx: Context) -> None:
        await ctx.step.run("greet", ctx.logger.warning, "hello from a step")

    @app.function(id="patient", trigger=Event("wait"))
    async def patient(ctx: Context) -> object:
        return await ctx.step.wait_for_event("signal", "signal", timeout="1h")

    @app.function(id="once", triggers=[], idempotency="event.data.key")
    async def once(ctx: Context) -> None: ...

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(shop()) as made:
        yield made


@pytest.fixture
def cli(server: Served, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(server.url, capsys)


def sent(cli: Command, name: str, *more: str, data: dict | None = None) -> dict:
    result = cli("send", name, "--data", json.dumps(data or {}), "--wait", "10", "--json", *more)
    return result.json


def test_send_prints_the_event_and_with_wait_its_runs(cli: Command):
    result = cli("send", "order/created", "--data", '{"id": 1}')
    assert (result.code, result.out.startswith("sent order/created as 01")) == (0, True)
    result = cli("send", "order/created", "--wait", "10")
    assert result.code == 0
    assert "shop-order" in result.out
    assert "Completed" in result.out


def test_send_with_wait_ends_with_1_when_a_run_fails_or_does_not_end_in_time(cli: Command):
    result = cli("send", "order/created", "--data", '{"bad": true}', "--wait", "10", "--json")
    assert (result.code, [run["status"] for run in result.json["runs"]]) == (1, ["Failed"])
    result = cli("send", "wait", "--wait", "0.5")
    assert result.code == 1
    assert "not ended within 0.5 s; check again with: milepost events show 01" in result.out


def test_send_with_wait_says_that_an_event_started_nothing(cli: Command):
    result = cli("send", "nobody/listens", "--wait", "10")
    assert (result.code, result.out.strip()) == (0, "It started no runs.")


def test_an_event_id_is_good_once_and_a_moment_delays_its_runs(cli: Command):
    first = sent(cli, "order/created", "--id", "same")
    again = sent(cli, "order/created", "--id", "same")
    assert (len(first["runs"]), len(again["runs"])) == (1, 0)
    result = cli("send", "wait", "--at", "2039-01-01T08:00:00Z", "--json")
    [event_id] = result.json["ids"]
    until(lambda: cli("events", "show", event_id, "--json").json["runs"])
    [run] = cli("events", "show", event_id, "--json").json["runs"]
    detail = cli("runs", "show", run["run_id"], "--json").json
    assert (detail["status"], detail["start_at"][:16]) == ("Queued", "2039-01-01T08:00")


def test_runs_list_filters_and_pages(cli: Command):
    for _ in range(3):
        sent(cli, "order/created")
    page = cli("runs", "list", "--function", "shop-order", "--status", "completed", "--limit", "2", "--json").json
    assert [run["status"] for run in page["runs"]] == ["Completed"] * 2
    rest = cli("runs", "list", "--function", "shop-order", "--limit", "2", "--after", page["next"], "--json").json
    assert not {run["run_id"] for run in page["runs"]} & {run["run_id"] for run in rest["runs"]}
    words = cli("runs", "list", "--function", "shop-order", "--limit", "2")
    assert words.out.split()[:6] == ["RUN", "FUNCTION", "STATUS", "EVENT", "QUEUED", "TOOK"]
    assert "more: --after" in words.out
    assert cli("runs", "list", "--since", "1h", "--until", "30m", "--json").json["runs"] == []
    found = cli("runs", "list", "--search", "cel:event.name == 'wait'", "--json").json["runs"]
    assert {run["function_id"] for run in found} == {"shop-patient"}


def test_runs_show_prints_each_step_with_its_attempts_and_takes_the_last_letters_of_an_id(cli: Command):
    [run] = sent(cli, "order/created", data={"bad": True, "name": "Žofie 🎈"})["runs"]
    shown = cli("runs", "show", run["run_id"][-8:].lower())
    assert shown.code == 0
    for part in (run["run_id"], "shop-order", "Failed after", "Žofie 🎈", "pay", "send", "no such address"):
        assert part in shown.out, part
    assert "Traceback" not in shown.out
    assert "Traceback" in cli("runs", "show", run["run_id"], "--full").out
    assert cli("runs", "show", run["run_id"], "--json").json["error"]["message"] == "no such address"


def test_runs_cancel_and_replay_name_the_runs(cli: Command):
    [run] = cli("send", "wait", "--wait", "0.5", "--json").json["runs"]
    result = cli("runs", "cancel", run["run_id"], "--reason", "by hand")
    assert (result.code, result.out.strip()) == (0, "1 of 1 runs cancelled")
    until(lambda: cli("runs", "show", run["run_id"], "--json").json["status"] == "Cancelled")
    assert "cancelled  by hand: by hand" in cli("runs", "show", run["run_id"]).out
    again = cli("runs", "cancel", run["run_id"])
    assert (again.code, "MP302" in again.out, "0 of 1 runs cancelled" in again.out) == (1, True, True)

    [failed] = sent(cli, "order/created", data={"bad": True})["runs"]
    made = cli("runs", "replay", failed["run_id"], "--from-step", "send", "--data", '{"bad": false}', "--json")
    assert made.code == 0
    [new] = made.json["done"]
    until(lambda: cli("runs", "show", new, "--json").json["ended_at"])
    shown = cli("runs", "show", new)
    assert f"replay of  {failed['run_id']}" in shown.out
    assert "kept from the replayed run" in shown.out
    wrong = cli("runs", "replay", failed["run_id"], "--from-step", "nothing")
    assert (wrong.code, "MP307" in wrong.out) == (1, True)


def test_many_runs_are_counted_first_and_changed_only_after_yes(server: Served, cli: Command):
    server.send(*({"name": "wait", "data": {"batch": 1, "n": n}} for n in range(120)))
    until(lambda: len(cli("runs", "list", "-q", '"batch"', "--limit", "500", "--json").json["runs"]) == 120)
    chosen = ("--all", "--function", "shop-patient", "-q", '"batch":1')
    counted = cli("runs", "cancel", *chosen, "--dry-run")
    assert (counted.code, counted.out.splitlines()[-1]) == (0, "120 runs would be cancelled")
    assert len(cli("runs", "cancel", *chosen, "--dry-run", "--json").json["run_ids"]) == 120
    unasked = cli("runs", "cancel", *chosen)
    assert unasked.code == 2
    assert "Cancel 120 runs? Confirm with --yes." in unasked.err
    done = cli("runs", "cancel", *chosen, "--yes", "--json")
    assert (done.code, done.json["count"], len(done.json["done"]), done.json["failed"]) == (0, 120, 120, [])
    until(
        lambda: (
            cli("runs", "list", *chosen[1:], "--status", "cancelled", "--limit", "500").out.count("Cancelled") == 120
        )
    )
    # Nothing is left that lives.
    assert cli("runs", "cancel", *chosen, "--yes").out.strip() == "0 of 0 runs cancelled"
    replayed = cli("runs", "replay", *chosen, "--status", "cancelled", "--yes")
    assert (replayed.code, replayed.out.strip()) == (0, "120 of 120 runs replayed")
    cli("runs", "cancel", *chosen, "--yes")


def test_events_list_and_show_say_what_came_of_an_event(cli: Command):
    data = sent(cli, "order/created", data={"id": 5})
    [event_id] = data["ids"]
    assert event_id in cli("events", "list", "--name", "order/created").out
    shown = cli("events", "show", event_id.lower())
    assert (shown.code, '"id": 5' in shown.out, "shop-order" in shown.out) == (0, True, True)
    assert cli("events", "show", event_id, "--json").json["started"] == [run["run_id"] for run in data["runs"]]


def test_functions_are_listed_paused_resumed_and_started_by_hand(cli: Command):
    assert "order/created" in cli("functions", "list").out
    assert cli("functions", "pause", "shop-order").code == 0
    paused = sent(cli, "order/created")
    [event_id] = paused["ids"]
    assert paused["runs"] == []
    assert "skipped    shop-order: " in cli("events", "show", event_id).out
    assert cli("functions", "resume", "shop-order", "--json").json == {"ok": True}
    run_id = cli("functions", "trigger", "shop-order", "--data", '{"id": 3}', "--json").json["run_id"]
    until(lambda: cli("runs", "show", run_id, "--json").json["status"] == "Completed")
    assert cli("functions", "trigger", "shop-once", "--data", '{"key": 1}').code == 0
    twice = cli("functions", "trigger", "shop-once", "--data", '{"key": 1}')
    assert (twice.code, "MP309" in twice.err) == (1, True)


def test_apps_are_listed_and_taken_out(server: Served, cli: Command):
    server.serve(App("short-lived"))
    assert [app["app_id"] for app in cli("apps", "list", "--json").json["apps"]] == ["shop", "short-lived"]
    assert "process shop" in cli("apps", "list").out
    assert cli("apps", "remove", "short-lived", "--yes").code == 0
    assert cli("apps", "remove", "short-lived", "--yes").code == 1
    refused = cli("apps", "add", f"http://127.0.0.1:{free_port()}/api")
    assert (refused.code, "MP321" in refused.err) == (1, True)


def test_erased_runs_and_events_are_gone(cli: Command):
    data = sent(cli, "order/created")
    [run] = data["runs"]
    assert cli("erase", run["run_id"], "--yes").out.strip() == "1 of 1 erased"
    assert "MP301" in cli("runs", "show", run["run_id"]).err
    assert "MP306" in cli("events", "show", data["ids"][0]).err
    [live] = cli("send", "wait", "--wait", "0.3", "--json").json["runs"]
    refused = cli("erase", live["run_id"], "--yes", "--json")
    assert (refused.code, refused.json["failed"][0]["code"]) == (1, "MP305")
    event = sent(cli, "nobody/listens")
    assert cli("erase", "--event", event["ids"][0], "--yes", "--json").json["done"] == event["ids"]


def test_dead_letters_are_listed_and_redriven(server: Served, cli: Command):
    assert cli("dead-letters", "list").out.strip() == "No dead letters."

    async def bury() -> None:
        statement = """INSERT INTO messages (queue, body, due_at, receive_count, dead_at, problem)
            VALUES ('work', '{"t":"start","run":"nonsense"}', 1, 11, 1, 'KeyError()')"""
        await server.local.store.commits.write(lambda rows: rows.execute(statement).rowcount)

    server.do(bury())
    [letter] = cli("dead-letters", "list", "--json").json["dead_letters"]
    assert "nonsense" in cli("dead-letters", "list").out
    wrong = cli("doctor")
    assert (wrong.code, "dead-letters redrive --all" in wrong.out) == (1, True)
    assert cli("dead-letters", "redrive").code == 2
    assert cli("dead-letters", "redrive", str(letter["id"])).out.strip() == "1 message redriven"
    assert cli("dead-letters", "redrive", "--all", "--json").json == {"count": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs", "show", "01ZZZZZZZZZZZZZZZZZZZZZZZZ"), "MP301"),
        (("runs", "show", "zzzzzz"), "no recent run ends with it"),
        (("runs", "show", "U"), "recent run"),
        (("runs", "cancel", "01ZZZZZZZZZZZZZZZZZZZZZZZZ", "--json"), "MP301"),
        (("runs", "list", "--status", "sleepy"), "no run status 'Sleepy'"),
        (("runs", "list", "-q", "cel:event.("), "MP316"),
        (("runs", "list", "-q", "cel:" + "(" * 3000), "at most 2048"),
        (("events", "show", "01ZZZZZZZZZZZZZZZZZZZZZZZZ"), "MP306"),
        (("functions", "pause", "nothing"), "Registered functions: shop-once, shop-order, shop-patient"),
        (("functions", "trigger", "a/b?c#d"), "MP3"),
        (("send", ""), "event name is empty"),
        (("send", "inngest/secret"), "reserved"),
        (("send", "x" * 600), "at most 512"),
        (("send", "old", "--at", "1979-01-01T00:00:00Z"), "before Jan 1, 1980"),
        (("apps", "add", "ftp://x"), "MP310"),
    ],
    ids=str,
)
def test_what_the_server_refuses_ends_with_1_and_a_sentence_that_says_why(
    cli: Command, words: tuple[str, ...], said: str
):
    result = cli(*words)
    assert result.code == 1
    assert said in result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "x", "--data", "{"), "--data is not JSON"),
        (("send", "x", "--data", "[]"), "must be a JSON object"),
        (("send", "x", "--data", "@nowhere.json"), "nowhere.json"),
        (("send", "x", "--data", "[" * 100_000), "--data"),
        (("send", "x", "--at", "soon"), "--at 'soon' is not a date"),
        (("runs", "list", "--since", "yesterdayish"), "30m, 2h, 7d"),
        (("runs", "list", "--since", "999999999d"), "30m, 2h, 7d"),
        (("runs", "list", "--limit", "0"), "--limit"),
        (("runs", "cancel"), "give run ids, or --all"),
        (("runs", "cancel", "X", "--all"), "give run ids, or --all"),
        (("runs", "cancel", "X", "--status", "failed"), "--status can only be used together with --all"),
        (("apps", "remove", "shop"), "--yes"),
        (("dead-letters", "redrive"), "give ids, or --all"),
        (("erase",), "give run ids"),
        (("runs", "fly"), "No such command"),
        (("runs", "show"), "Missing argument"),
        (("runs", "list", "--nonsense"), "No such option"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else "",
)
def test_wrong_usage_ends_with_2_and_names_the_option(cli: Command, words: tuple[str, ...], said: str):
    result = cli(*words)
    assert result.code == 2
    printed = " ".join(result.err.split())
    assert said in printed
    assert "Traceback" not in result.err
    for_programs = cli(*words, "--json")
    assert (for_programs.code, json.loads(for_programs.err)["code"]) == (2, "usage")
    assert said in json.loads(for_programs.err)["error"]


@pytest.mark.parametrize("as_json", [False, True])
def test_without_a_server_commands_end_with_3_and_say_how_to_start_one(cli: Command, *, as_json: bool):
    url = f"http://127.0.0.1:{free_port()}"
    for words in (("runs", "list"), ("send", "x"), ("functions", "list"), ("apps", "list"), ("dead-letters", "list")):
        result = cli(*words, *(["--json"] if as_json else []), url=url)
        assert result.code == 3
        said = json.loads(result.err)["error"] if as_json else result.err
        assert f"no server answers at {url}" in said
        assert "milepost dev" in said
    assert cli("doctor", url=url).code == 3


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[", "ftp://127.0.0.1:1"])
def test_an_invalid_address_is_reported(cli: Command, url: str):
    result = cli("runs", "list", url=url)
    assert (result.code, "no server answers at" in result.err) == (3, True)


def test_a_server_that_is_not_milepost_is_reported(cli: Command):
    with served() as other:
        result = cli("runs", "list", url=f"{other.url}/somewhere")
    assert (result.code, "MP322" in result.err) == (1, True)


def test_doctor_finds_everything_well_and_says_it_as_json_too(cli: Command):
    result = cli("doctor", "--json")
    seen = {finding["what"]: finding["ok"] for finding in result.json["findings"]}
    assert {"python", "sqlite", "data file", "environment", "server", "app shop", "dead letters"} <= seen.keys()
    assert seen["server"]
    # Many runs of this file failed on purpose.
    assert result.code in {0, 1}


def test_the_real_command_reads_data_from_standard_input_and_its_address_from_the_environment(server: Served):
    environment = {**os.environ, "MILEPOST_URL": server.url}
    command = [str(MILEPOST), "send", "order/created", "--data", "-", "--wait", "10", "--json"]
    done = subprocess.run(command, env=environment, input='{"id": 9}', capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["runs"][0]["status"] == "Completed"
    environment["MILEPOST_URL"] = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(command, env=environment, input="{}", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("milepost ru", "runs"),
        ("milepost runs re", "replay"),
        ("milepost functions pause shop-o", "shop-order"),
        ("milepost runs list --function shop-o", "shop-order"),
        ("milepost runs list --status Fa", "Failed"),
    ],
)
def test_the_shell_completes_commands_and_function_ids(server: Served, typed: str, expected: str):
    environment = {
        **os.environ,
        "MILEPOST_URL": server.url,
        "_MILEPOST_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run([str(MILEPOST)], env=environment, capture_output=True, text=True, check=False)
    assert expected in done.stdout.split(), done


def test_the_version_is_printed(cli: Command):
    assert cli.bare("--version").out.startswith("milepost 0.")
    assert sys.version_info >= (3, 11)


def test_what_a_run_logged_is_printed_with_its_step_or_it_is_said_that_there_is_nothing(cli: Command):
    [run] = sent(cli, "talk")["runs"]
    printed = cli("logs", run["run_id"][-8:])
    assert "WARNING [greet] hello from a step" in printed.out
    [line] = cli("logs", run["run_id"], "--json").json
    assert (line["text"], line["step"], line["attempt"]) == ("hello from a step", "greet", 0)
    [silent] = sent(cli, "order/created", data={"order_id": "1"})["runs"]
    nothing = cli("logs", silent["run_id"])
    assert (nothing.code, "No log output since" in nothing.out) == (1, True)
