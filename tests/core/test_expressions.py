"""What an expression means: the reference dialect, rule by rule."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import milepost_engine.cel as package
from milepost_engine.cel import (
    ExpressionError,
    compile_expression,
    evaluate,
    explain,
    free_names,
    key_text,
    matches,
)

Variables = dict[str, object]
Case = tuple[str, Variables, object]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def value_of(text: str, variables: Variables | None = None) -> object:
    return evaluate(compile_expression(text), variables or {}, now=NOW)


def data(**fields: object) -> Variables:
    return {"event": {"name": "app/tested", "data": fields}}


NOTHING = data()
TAGS = data(tags=["a", "b", "c"])
STATUS: Variables = {"response": {"status": "200"}}
ENCODED = data(encoded="eyJuZXN0ZWQiOnsiZGF0YSI6InllYSJ9fQ==")
STEPS: Variables = {"steps": {"first": {"foo": "test"}, "second": {"foo": "test"}}}
ACTIONS: Variables = {"actions": {"first": {"foo": "test"}}}
LOUD = data(name="hi", number=9.1, bool=True, list=[3, "ok?", True], obj={"name": "inngest"})

REFERENCE_TABLE: list[Case] = [
    # values
    ("event.data.name", data(name="Ada Lovelace"), "Ada Lovelace"),
    ("5 + 4", NOTHING, 9),
    (
        ("event.data.name + '-' + event.data.number + '-' + event.data.bool + '-' + event.data.list"
        " + '-' + event.data.obj + '-' + event.data.missing"),
        LOUD,
        "hi-9.1-true-[3 ok? true]-map[name:inngest]-",
    ),
    ("event.data.name + '-' + event.data.number + '-' + event.data.bool + '-' + event.data.missing", LOUD,
     "hi-9.1-true-"),
    ("event.data.name + '-' + event.data.foo", data(name="Ada"), "Ada-"),
    ("uppercase(event.data.name) + ' is my name'", data(name="Ada"), "ADA is my name"),
    ('b64decode("aGkgdGhlcmUh") + " - b64 data"', NOTHING, "hi there! - b64 data"),
    ('b64decode("aGkgdGhlcmUh") == "hi there!"', NOTHING, True),
    ("json_parse(b64decode(event.data.encoded)).nested.data", ENCODED, "yea"),
    ('json_parse(b64decode(event.data.encoded)).nested.data == "yea"', ENCODED, True),
    # maps
    ("event.data == event.data", data(nope=None, inner={"eval": "ok"}), True),
    ("event.data.a == event.data.b", data(a={"e": "ok", "n": 1.161}, b={"e": "ok", "n": 1.161}), True),
    ("event.data.a == event.data.b", data(a={"e": "ok", "n": 9}, b={"e": "ok", "n": 1.161}), False),
    # null in orderings
    ("null > 0", NOTHING, False),
    ("size(event.data.nope) > 0", data(nope=None), False),
    ("event.data.action > 0", data(action=None), False),
    ("event.data.float <= null && event.data.int < null", data(float=3.141, int=8), False),
    ("event.data.float > null && event.data.int > null", data(float=3.141, int=8), True),
    ("event.data.int > event.data.unknown", data(int=2), True),
    ("event.data.int > 3.141 && event.data.float <= 2", data(int=8, float=1.111), True),
    # null and missing in equalities
    ("event.data.something == null", data(something="hi"), False),
    ("event.data.something == null", data(something=None), True),
    ("event.data.another == null", NOTHING, True),
    ("event.data.NOPE == null", {"event": {}}, True),
    ("steps.first.foo == 'test' && steps.second.bar != true && steps.second.baz != true", STEPS, True),
    ("actions.first.foo != 'test' && (actions.first.bar == true || actions.second.baz == true)", ACTIONS, False),
    ("event.data.foo != '' && 'item' in event.data.issue.fields.tags", NOTHING, False),
    ("event.data.foo != ''", data(foo="hi"), True),
    ("event['data'].foo != '' && event['data'].bar != true", data(foo="hi"), True),
    ("event.data.name == action.first.result.name", data(name="no"), False),
    ("event.data.issue.field.another == 'another'", data(issue=None), False),
    ("event.data.test == true && event.data.issue.field.another != 'another'", data(test=True, issue=None), True),
    ("user.nonexistent.exists(x, x == 'a')", {}, False),
    ("steps.first.foo == 'test'", STEPS, True),
    ("actions.first.foo == 'test' && actions.first.bar != true", ACTIONS, True),
    # strings
    (r"event.data.title.matches('^[a-z\d]{0,10}$')", data(title="nope"), True),
    (r"event.data.title.matches('\w')", data(title="nope"), True),
    ("event.data.some.unknown.contains(event.data.title)", data(title="nope"), False),
    ("'hello'.contains('llo')", STATUS, True),
    ("'hello'.contains('what')", STATUS, False),
    ("size(event.data.action) > 0", data(action=None), False),
    ("size(event.data.action) > 0", data(action="opened"), True),
    ("size(event.data.action) == 6", data(action="opened"), True),
    ("event.data.action == 'opened'", data(action="opened"), True),
    ("int(response.status) == 200", STATUS, True),
    ("uppercase(event.priority) == 'P1'", {"event": {"priority": "p1"}}, True),
    ("lowercase(event.priority) == 'urgent'", {"event": {"priority": "URGENT"}}, True),
    ("\n\t\tint(response.status) >= 400 &&\n\t\tresponse.error == true\n",
     {"response": {"status": "400", "error": True}}, True),
    # lists
    ("size(event.data.tags) == 0", NOTHING, True),
    ("size(event.data.tags) == 1", NOTHING, False),
    ("size(event.data.tags) == 0", data(tags=[]), True),
    ("size(event.data.tags) > 2", TAGS, True),
    ("event.data.tags.exists(x, x == 'a')", TAGS, True),
    ("event.data.tags.exists(x, x == 'd' || x == 'a')", TAGS, True),
    ("event.data.tags.exists(x, x == 'd')", TAGS, False),
    ("event.data.tags.exists(x, x == 'd') == false", TAGS, True),
    ("event.data.issue in ['Bug', 'Issue', 'Epic'] == true", data(issue="Bug"), True),
    ("event.data.issue in ['LOL', 'Issue', 'Epic'] == false", data(issue="Bug"), True),
    ("event.data.nonexistent in ['LOL', 'Issue', 'Epic'] == false", data(issue="Bug"), True),
    ("[1, 2, 3].all(x, x > 0) && response.status == '200'", STATUS, True),
    ("response.status == 200", STATUS, False),
    ("date(event.from) + duration('6h35m10s') == date('2020-01-01T18:35:10')",
     {"event": {"from": "2020-01-01T12:00:00"}}, True),
]  # fmt: skip

UNKNOWN_TABLE: list[Case] = [
    ("event.data.missing", NOTHING, False),
    ("event.data.missing == 'foo'", NOTHING, False),
    ("event.data.missing == null", NOTHING, True),
    ("null == event.data.missing", NOTHING, True),
    ("event.data.missing == 0", NOTHING, False),
    ("event.data.a == event.data.b", NOTHING, False),
    ("event.data.missing != 'foo'", NOTHING, True),
    ("event.data.missing != null", NOTHING, False),
    ("event.data.missing != 0", NOTHING, True),
    ("event.data.missing != ''", NOTHING, True),
    ("event.data.missing < 5", NOTHING, True),
    ("event.data.missing <= 5", NOTHING, True),
    ("5 < event.data.missing", NOTHING, False),
    ("5 <= event.data.missing", NOTHING, False),
    ("event.data.missing > 5", NOTHING, False),
    ("event.data.missing >= 5", NOTHING, False),
    ("5 > event.data.missing", NOTHING, True),
    ("5 >= event.data.missing", NOTHING, True),
    ("event.data.name + event.data.missing", data(name="hello"), "hello"),
    ("event.data.missing + event.data.name", data(name="hello"), "hello"),
    ("event.data.a + event.data.b", NOTHING, False),
    ("size(event.data.missing)", NOTHING, 0),
    ("event.data.missing.size()", NOTHING, 0),
    ("size(null)", NOTHING, 0),
    ("event.data.missing in ['a', 'b']", NOTHING, False),
    ("'a' in event.data.missing", NOTHING, False),
    ("event.data.missing.matches('.*')", NOTHING, False),
    ("event.data.missing.startsWith('')", NOTHING, False),
    ("'x'.contains(event.data.missing)", NOTHING, False),
    ("event.data.missing.all(x, true)", NOTHING, False),
    ("lowercase(event.data.missing)", NOTHING, False),
    ("int(event.data.missing)", NOTHING, False),
    ("!event.data.missing", NOTHING, False),
    ("event.data.name.deeper.still == null", data(name="text"), True),
    ("event.data.tags[7] == null", TAGS, True),
    ("event.data.tags[event.data.missing] == null", TAGS, True),
    ("null == 'foo'", NOTHING, False),
    ("'foo' != null", NOTHING, True),
    ("null < 'foo'", NOTHING, True),
    ("'foo' < null", NOTHING, False),
    ("null < 5", NOTHING, True),
    ("5 < null", NOTHING, False),
    ("5 > null", NOTHING, True),
    ("3.1 > null", NOTHING, True),
    ("null <= 0", NOTHING, True),
    ("null >= 1", NOTHING, False),
    ("null < 0.5", NOTHING, True),
    ("null < uint(5)", NOTHING, True),
]

TRUTH_TABLE: list[Case] = [
    ("event.data.a || event.data.b", data(a="first", b="second"), "first"),
    ("event.data.a || event.data.b", data(a="", b="second"), "second"),
    ("event.data.missing || event.data.b", data(b="found"), "found"),
    ("event.data.a || event.data.missing", data(a="found"), "found"),
    ("event.data.a || event.data.b", NOTHING, False),
    ("event.data.zero || event.data.name", data(zero=0, name="hi"), "hi"),
    ("null || event.data.b", data(b="fallback"), "fallback"),
    ("event.data.f || false", data(f=3.14), 3.14),
    ("event.data.f || event.data.b", data(f=0.0, b="yes"), "yes"),
    ("false || event.data.list", data(list=["a"]), ["a"]),
    ("event.data.list || false", data(list=[]), []),
    ("uint(5) || false", NOTHING, 5),
    ("uint(0) || event.data.b", data(b="yes"), "yes"),
    ("event.data.a || event.data.b", data(a=False, b=True), True),
    ("event.data.a || event.data.b", data(a=False, b=False), False),
    ("event.data.a && event.data.b", data(a="first", b="second"), "second"),
    ("event.data.a && event.data.b", data(a="", b="second"), ""),
    ("event.data.a && event.data.b", data(a="first", b=""), ""),
    ("event.data.missing && event.data.b", data(b="second"), False),
    ("event.data.a && event.data.b", data(a=True, b=False), False),
    ("event.data.a && event.data.b", data(a=True, b=True), True),
    ("event.data.plan ? 1 : 2", data(plan="pro"), 1),
    ("event.data.plan ? 1 : 2", NOTHING, 2),
    ("event.data.n ? 'some' : 'none'", data(n=0), "none"),
    ("false ? 1 : true ? 2 : 3", NOTHING, 2),
]

DOCUMENTATION_TABLE: list[Case] = [
    ("event.data.billingPlan == 'enterprise'", data(billingPlan="enterprise"), True),
    ("event.data.amount > 1000", data(amount=1001), True),
    ("event.data.billingPlan == 'enterprise' && event.data.amount > 1000", data(billingPlan="enterprise", amount=5),
     False),
    ("event.data.billingPlan != 'pro' || event.data.amount < 300", data(billingPlan="pro", amount=5), True),
    ("event.data.customerId", data(customerId="c1"), "c1"),
    ("event.data.customerId + '-' + event.data.account.id", data(customerId="c1", account={"id": 12}), "c1-12"),
    ("event.data.account_type == 'enterprise' ? 120 : 0", data(account_type="enterprise"), 120),
    ("event.data.plan == 'enterprise' ? 180 : 0", data(plan="free"), 0),
    ("event.data.priority", data(priority=-600), -600),
    ("event.data.status == 200", data(status=200), True),
    ("event.data.function_id == 'app-fn'", data(function_id="app-fn"), True),
    ("event.data.userId == async.data.userId", {**data(userId="u"), "async": {"data": {"userId": "u"}}}, True),
    ("event.data.userId == async.data.userId && async.data.billing_plan == 'pro'",
     {**data(userId="u"), "async": {"data": {"userId": "u", "billing_plan": "free"}}}, False),
    (('["P0", "P1"].exists(p, p in event.data.tag) && lowercase(event.data.project) == "bench" '
     '&& user.email.endsWith("example.net")'),
     {**data(project="Bench", tag=["P0"]), "user": {"email": "hi@example.net"}}, True),
    (("\"lol\" == event.data || event.name == \"foo\" || (user.source == 'test' || user.source == 'google') && "
     "date(user.next_visit) > now_plus(\"24h\") && user.email == 'test@example.com'"),
     {"event": {"name": "bar"}, "user": {"source": "google", "next_visit": "2026-03-03", "email": "test@example.com"}},
     True),
]  # fmt: skip

LANGUAGE_TABLE: list[Case] = [
    ("0x1F + 1", NOTHING, 32),
    ("1.5e3", NOTHING, 1500.0),
    ("7 == 7.0", NOTHING, True),
    ("true == 1", NOTHING, False),
    ("'1' == 1", NOTHING, False),
    ("[1, [2.0, 'x']] == [1.0, [2, 'x']]", NOTHING, True),
    ("{'a': 1} == {'a': 1.0}", NOTHING, True),
    ("2 + 3 * 4 - 1", NOTHING, 13),
    ("(2 + 3) * 4", NOTHING, 20),
    ("10 - 3 - 2", NOTHING, 5),
    ("7 / 2", NOTHING, 3),
    ("-7 / 2", NOTHING, -3),
    ("-7 % 3", NOTHING, -1),
    ("7.0 / 2", NOTHING, 3.5),
    ("event.data.n / 2", data(n=7), 3.5),
    ("event.data.n % 2 == 1", data(n=7), True),
    ("-event.data.n", data(n=7), -7.0),
    ("!true || !false", NOTHING, True),
    ("!(1 < 2)", NOTHING, False),
    ("1 < 2 == true", NOTHING, True),
    ("false || true && false", NOTHING, False),
    ("[1, 2] + ['x']", NOTHING, [1, 2, "x"]),
    ("'a' + 1", NOTHING, "a1"),
    ("1 + 1.5", NOTHING, 2.5),
    ("'n' + event.data.n", data(n=1234567), "n1234567"),
    ("'n' + event.data.n", data(n=1e21), "n1e+21"),
    ("'x' + {'b': 1, 'a': null}", NOTHING, "xmap[a:<nil> b:1]"),
    ("{'a': {'b': [10, 20]}}.a.b[1]", NOTHING, 20),
    ('event.data["first name"]', data(**{"first name": "Ada"}), "Ada"),
    ("event.data.tags[0] + event.data.tags[event.data.i]", data(tags=["a", "b"], i=1), "ab"),
    ("event.data[event.data.field]", data(field="x", x=5), 5),
    ("'a' in {'a': 1}", NOTHING, True),
    ("'z' in {'a': 1}", NOTHING, False),
    ("2.0 in [1, 2]", NOTHING, True),
    ("has(event.data.x)", data(x=None), True),
    ("has(event.data.y)", data(x=None), False),
    ("has(event.data.x.y)", data(x=None), False),
    ("event.data.tags.exists_one(x, x > 'a')", TAGS, False),
    ("event.data.tags.exists_one(x, x > 'b')", TAGS, True),
    ("event.data.tags.filter(x, x != 'b')", TAGS, ["a", "c"]),
    ("event.data.tags.map(x, x + x)", TAGS, ["aa", "bb", "cc"]),
    ("[1, 2, 3].map(x, x > 1, x * 10)", NOTHING, [20, 30]),
    ("{'a': 1, 'b': 2}.all(key, key < 'c')", NOTHING, True),
    ("[1].all(event, event == 1) && event.name == 'app/tested'", NOTHING, True),
    ("[[1], [2]].exists(x, x.exists(x, x == 2))", NOTHING, True),
    ("'héllo'.size()", NOTHING, 5),
    ("'ß' + '☃' == 'ß☃'", NOTHING, True),
    ("'a' < 'b' && 'Z' < 'a'", NOTHING, True),
    (r"size('\n') == 2", NOTHING, True),
    (r"'\\' == '\' + '\'", NOTHING, True),
    ("\"it's\" == 'it' + \"'\" + 's'", NOTHING, True),
    (r"r'\d' == '\d'", NOTHING, True),
    ("'// no comment' // a comment", NOTHING, "// no comment"),
    ("1 + // one\n2", NOTHING, 3),
    ("matches('abc', 'b')", NOTHING, True),
    ("'b'.matches(event.data.pattern)", data(pattern="^[ab]$"), True),
    ("'abc'.startsWith('ab') && 'abc'.endsWith('bc')", NOTHING, True),
    ("string(7.0) + string(true) + string(1.5)", NOTHING, "7true1.5"),
    ("int('42') + int(3.9) + int(-3.9)", NOTHING, 42),
    ("double('1.5')", NOTHING, 1.5),
    ("bool('true') && !bool('false')", NOTHING, True),
    ("int(timestamp('1970-01-01T00:01:00Z'))", NOTHING, 60),
    ("timestamp('2026-01-01T00:00:00+02:00')", NOTHING, "2025-12-31T22:00:00Z"),
    ("timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z')", NOTHING, "86400s"),
    ("duration('1h') + duration('30m') == duration('90m')", NOTHING, True),
    ("duration('1.5s')", NOTHING, "1.5s"),
    ("-duration('1d')", NOTHING, "-86400s"),
    ("now()", NOTHING, "2026-03-01T12:00:00Z"),
    ("now_plus('24h') > now() && now_minus('1w') < now()", NOTHING, True),
    ("date(event.ts) == timestamp('2026-03-01T12:00:00Z')", {"event": {"ts": 1772366400000}}, True),
    ("date('Sun, 01 Mar 2026 12:00:00 GMT') == now()", NOTHING, True),
    ("date('2026-03-01') + duration('12h') == now()", NOTHING, True),
    ("json_parse('no json').a == null", NOTHING, True),
    ("json_parse('{\"n\": 3}').n == 3", NOTHING, True),
    ("b64decode('not base64!')", NOTHING, ""),
    ("event.data.id == 9007199254740993", data(id=9007199254740993), True),
    ("event.data.id == 9007199254740992", data(id=9007199254740993), False),
    ("event.data.id == 18446744073709551617", data(id=2**64 + 1), True),
    ("event.data.id == 18446744073709551617", data(id=2**64), False),
    ("event.data.id in [1, 18446744073709551617]", data(id=2**64 + 1), True),
    ("event.data.id < 18446744073709551618", data(id=2**64 + 1), True),
    ("[event.data.id] == [18446744073709551617]", data(id=2**64), False),
    ("'k-' + event.data.id", data(id=2**64 + 1), "k-18446744073709551617"),
    ("string(event.data.id)", data(id=-(2**64) - 1), "-18446744073709551617"),
    ("-event.data.id == -18446744073709551617", data(id=2**64 + 1), True),
    ("event.data.id == 1e30", data(id=10**30), False),
    ("event.data.id == 1e3", data(id=1000), True),
    ("event.data.id + 1", data(id=2**64 + 1), float(2**64)),
    ("[event.data.missing].size()", NOTHING, 0),
]


def identifiers(table: list[Case]) -> list[str]:
    return [text.strip()[:70] for text, _, _ in table]


@pytest.mark.parametrize(("text", "variables", "expected"), REFERENCE_TABLE, ids=identifiers(REFERENCE_TABLE))
def test_the_reference_table_holds(text: str, variables: Variables, expected: object) -> None:
    assert same(value_of(text, variables), expected)


@pytest.mark.parametrize(("text", "variables", "expected"), UNKNOWN_TABLE, ids=identifiers(UNKNOWN_TABLE))
def test_missing_and_null_follow_their_rules(text: str, variables: Variables, expected: object) -> None:
    assert same(value_of(text, variables), expected)


@pytest.mark.parametrize(("text", "variables", "expected"), TRUTH_TABLE, ids=identifiers(TRUTH_TABLE))
def test_logic_gives_operands_by_truthiness(text: str, variables: Variables, expected: object) -> None:
    assert same(value_of(text, variables), expected)


@pytest.mark.parametrize(("text", "variables", "expected"), DOCUMENTATION_TABLE, ids=identifiers(DOCUMENTATION_TABLE))
def test_the_documentation_examples_hold(text: str, variables: Variables, expected: object) -> None:
    assert same(value_of(text, variables), expected)


@pytest.mark.parametrize(("text", "variables", "expected"), LANGUAGE_TABLE, ids=identifiers(LANGUAGE_TABLE))
def test_the_rest_of_the_language_holds(text: str, variables: Variables, expected: object) -> None:
    assert same(value_of(text, variables), expected)


def same(value: object, expected: object) -> bool:
    """Equal, and a boolean only where one is expected: True == 1 for Python."""
    return value == expected and isinstance(value, bool) is isinstance(expected, bool)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   // nothing\n", "empty"),
        ("event.data.x ==", "ends where"),
        ("event.data.x = 1", "write =="),
        ("event.data.x === 1", "write =="),
        ("a & b", "&&"),
        ("a and b", "write &&"),
        ("not a", "write !"),
        ("event.data.ok == True", "write true"),
        ("event.data.ok == None", "write null"),
        ("'abc", "no closing '"),
        (r'"say \"hi\""', "does not escape anything"),
        (r'x == "say \"hi"', "does not escape a quote"),
        ("(1 + 2", "closing )"),
        ("[1, 2", "comma or the closing ]"),
        ("{'a' 1}", "the : between key and value"),
        ("a ? b", "the : of condition"),
        ("event..data", "field name after the dot"),
        ("event.data.0", "[0]"),
        ("foo(1)", "there is no function foo; there are: b64decode"),
        ("len(event.data.tags)", "write size"),
        ("event.data.name.toLowerCase()", "write lowercase"),
        ("event.data.name.lowercase()", "write lowercase(value)"),
        ("contains('a', 'b')", "write value.contains"),
        ("event.data.tags.includes('a')", "write contains"),
        ("size()", "size(value)"),
        ("now(1)", "now()"),
        ("tags.exists('x', true)", "list.exists(item, condition on item)"),
        ("tags.exists(x)", "list.exists(item, condition on item)"),
        ("has(event)", "has() takes one field"),
        ("'x'.matches('(')", "regular expression"),
        (r"'x'.matches('(a)\1')", "back-references"),
        ("1e999", "too large"),
        ("event.data.naïve", "unexpected 'ï'"),
        ("a ; b", "unexpected ';'"),
        ("1 2", "expected an operator"),
    ],
)
def test_a_wrong_expression_is_refused_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert said in str(caught.value)


def test_an_error_names_line_and_column() -> None:
    with pytest.raises(ExpressionError, match=r"line 2, column 14") as caught:
        compile_expression("event.data.a == 1 &&\nevent.data.b = 2")
    assert caught.value.column == 35


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "division by zero"),
        ("'a' * 2", "* does not work on a string and a number"),
        ("'a' < 1", "< cannot compare a string and a number"),
        ("true + true", "+ cannot add"),
        ("!'text'", "! works on booleans"),
        ("int('abc')", "int() cannot read 'abc'"),
        ("date('yesterday')", "not a date"),
        ("duration('soon')", "not a duration"),
        ("'a' in 'abc'", "text.contains(part)"),
        ("event.data.tags.contains('a')", "item in list"),
        ("'abc'.exists(x, true)", "works on lists and maps"),
        ("9223372036854775807 + 1", "64 bits"),
        ("1e308 * 10", "too large for a double"),
        ("now() + duration('300000000h')", "out of range"),
        ("'x'.matches('[' + 'a')", "no closing ]"),
        ("{1: 2}", "map key"),
    ],
)
def test_what_cannot_be_computed_is_an_error_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value_of(text, TAGS)
    assert said in str(caught.value)


def test_what_cannot_be_computed_counts_as_missing_inside_a_condition() -> None:
    assert value_of("int(event.data.n) != 5", data(n="abc")) is True
    assert value_of("int(event.data.n) == 5 || event.data.n == 'abc'", data(n="abc")) is True


def test_only_true_is_a_match() -> None:
    variables = data(name="Ada", zero=0)
    assert matches(compile_expression("event.data.name == 'Ada'"), variables, NOW)
    assert not matches(compile_expression("event.data.name == 'Bob'"), variables, NOW)
    for text in ("event.data.name", "1", "'true'", "1 / 0", "event.data.missing"):
        assert not matches(compile_expression(text), variables, NOW)


def test_a_condition_that_is_not_a_boolean_says_why_it_does_not_match() -> None:
    outcome = explain(compile_expression("event.data.name"), data(name="Ada"), NOW)
    assert not outcome.matched
    assert "a string, not true or false" in (outcome.problem or "")
    assert "division by zero" in (explain(compile_expression("1 / 0"), {}, NOW).problem or "")
    assert explain(compile_expression("event.data.missing"), NOTHING, NOW).problem is None


def test_the_value_of_a_constant_cannot_be_changed_through_a_result() -> None:
    expression = compile_expression("['a', {'b': ['c']}]")
    first = evaluate(expression, {}, now=NOW)
    assert isinstance(first, list)
    first.append("changed")
    assert evaluate(expression, {}, now=NOW) == ["a", {"b": ["c"]}]


def test_an_expression_is_parsed_once() -> None:
    assert compile_expression("event.data.once == 1") is compile_expression("event.data.once == 1")


def test_a_key_has_the_same_text_for_7_and_7_point_0() -> None:
    assert key_text(7) == key_text(7.0) == key_text(value_of("event.data.n", data(n=7))) == "7"
    assert key_text(["a", True, None]) == "[a true <nil>]"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 == 1", set()),
        ("event.data.a == async.data.a", {"event", "async"}),
        ("evnt.data['a'][0] == null || has(other.a)", {"evnt", "other"}),
        ("event.data.items.exists(x, x.price > 3 && y)", {"event", "y"}),
        ("event.data.items.map(x, x.a, x.b) == [x]", {"event", "x"}),
        ("event.a.all(x, event.b.exists(y, x == y && event.c.filter(event, event).size() > 0))", {"event"}),
        ("x.filter(x, x)", {"x"}),
        ("{'a': b}[c] + [d] + json_parse(e).f", {"b", "c", "d", "e"}),
        ("a ? -b : !c", {"a", "b", "c"}),
        ("now() < timestamp(event.ts)", {"event"}),
    ],
)
def test_the_names_that_must_come_from_outside_are_those_that_no_macro_brings(text: str, names: set[str]) -> None:
    assert free_names(compile_expression(text).root) == names


def test_the_exports_are_sorted_and_real() -> None:
    assert list(package.__all__) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_package_imports_nothing_impure() -> None:
    forbidden = {"os", "time", "random", "logging", "asyncio", "uuid", "secrets", "socket", "http", "urllib", "io"}
    for file in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & forbidden, file.name


def test_the_package_needs_the_standard_library_only() -> None:
    listing = "import sys, milepost_engine.cel; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert not tops & {"pydantic", "boto3", "httpx", "croniter", "asyncio", "logging"}
