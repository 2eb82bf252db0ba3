"""Regular expressions: RE2's meaning, in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost_engine.cel.errors import ExpressionError
from milepost_engine.cel.regex import compile_regex

TABLE = [
    ("", "", True),
    ("", "abc", True),
    ("b", "abc", True),
    ("d", "abc", False),
    ("^b", "abc", False),
    ("^abc$", "abc", True),
    ("^abc$", "abc\n", False),
    ("c$", "abc", True),
    (r"\Aab", "abc", True),
    (r"bc\z", "abc", True),
    (".", "\n", False),
    ("(?s).", "\n", True),
    ("(?m)^b$", "a\nb\nc", True),
    ("(?i)ABC", "xaBcx", True),
    ("(?i)[a-c]+$", "ABC", True),
    ("(?i:a)b", "Ab", True),
    ("(?i:a)b", "AB", False),
    ("(?i)a(?-i)b", "AB", False),
    ("(?i)straße", "STRAßE", True),
    ("(?i)É", "é", True),
    ("a|bc|d", "xbcx", True),
    ("^(?:a|bc)$", "bc", True),
    ("^(a|b)*c$", "abbac", True),
    ("^a{2,3}$", "a", False),
    ("^a{2,3}$", "aaa", True),
    ("^a{2,3}$", "aaaa", False),
    ("^a{2}$", "aa", True),
    ("^a{2,}$", "aaaaa", True),
    ("^a{0}$", "", True),
    ("^a{,2}$", "a{,2}", True),
    ("^a+?b??c*?$", "aacc", True),
    (r"^\d+$", "0129", True),
    (r"^\d$", "٣", False),
    (r"^\w+$", "aZ_9", True),
    (r"\w", "é", False),
    (r"^\s$", "\t", True),
    (r"^\S\D\W$", "aa-", True),
    (r"\bfoo\b", "a foo b", True),
    (r"\bfoo\b", "afoo", False),
    (r"\Boo", "foo", True),
    ("[^a-c]", "abc", False),
    ("[^a-c]", "abcd", True),
    ("[]a]", "]", True),
    ("[a-]", "-", True),
    (r"[\d\-x]", "-", True),
    (r"^[^\d]$", "5", False),
    (r"^[^\W]$", "5", True),
    ("^[[:alpha:]]+$", "abC", True),
    ("^[[:^digit:]]+$", "a1", False),
    (r"^\p{Lu}\pL$", "Éa", True),
    (r"^\P{L}$", "a", False),
    (r"^[\p{L}\d]+$", "é1", True),
    (r"^\x41\x{1F600}$", "A😀", True),
    (r"^\t\n\.\*$", "\t\n.*", True),
    (r"^\Qa.b*\E$", "a.b*", True),
    (r"^\101$", "A", True),
    ("(?P<year>\\d{4})-(?<month>\\d\\d)", "on 2026-03", True),
    (r"^[a-z\d]{0,10}$", "nope", True),
    (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "a@b.io", True),
    (r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$", "a@@b.io", False),
    ("(|a)*b", "aab", True),
    ("(a*)*c", "aab", False),
    ("()*", "", True),
    ("x*", "", True),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), TABLE)
def test_a_pattern_is_found_as_in_re2(pattern: str, text: str, *, expected: bool) -> None:
    assert compile_regex(pattern).search(text) is expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "no closing )"),
        ("a)", "without its ("),
        ("[a", "no closing ]"),
        ("[b-a]", "backwards"),
        ("*a", "nothing for * to repeat"),
        ("a**", "two repeats"),
        ("a{2}{3}", "two repeats"),
        ("a{3,2}", "must rise"),
        ("a{1001}", "within 1000"),
        (r"(a)\1", "back-references"),
        ("(?=a)", "lookaround"),
        ("(?!a)", "lookaround"),
        ("(?<=a)b", "lookaround"),
        ("(?>a)", "lookaround"),
        (r"\q", r"escape \q"),
        ("a\\", "escapes nothing"),
        (r"\pX", "Unicode category"),
        (r"\p{Greek}", "scripts are not supported"),
        ("[[:word", "no class"),
        (r"\x{FFFFFFF}", "escape \\x"),
        (r"\x{110000}", "no character"),
        ("((a{100}){100}){100}", "too large"),
        ("(" * 100 + ")" * 100, "nested more than 64"),
        ("a" * 1001, "longer than 1000"),
    ],
)
def test_a_wrong_or_unbounded_pattern_is_refused_with_a_reason(pattern: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_regex(pattern)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 5_000 + "!"),
        ("(a|a)*b", "a" * 5_000),
        ("(a|aa)+$", "a" * 5_000 + "b"),
        ("(.*)(.*)(.*)(.*)(.*)[^x]$", "x" * 5_000),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 5_000),
        ("(x+x+)+y", "x" * 5_000),
        (r"^(\w+\s?)*$", "word " * 1_000 + "!"),
        ("(a?){60}a{60}", "a" * 59),
        ("(a*)*" * 20 + "b", "a" * 2_000),
    ],
)
def test_patterns_that_hang_backtracking_engines_end_at_once(pattern: str, text: str) -> None:
    spent: list[int] = []
    assert compile_regex(pattern).search(text, spent.append) is False
    assert sum(spent) < 200_000


def test_the_work_of_a_search_is_at_most_pattern_times_text() -> None:
    # Thue and Morse's sequence: hardly any set of states is met twice, so nothing is saved by remembering.
    text = "".join("ab"[number.bit_count() % 2] for number in range(1_000))
    for times in (3, 30, 300):
        spent: list[int] = []
        compile_regex(f"(a|b)*a(a|b){{{times}}}c").search(text, spent.append)
        assert sum(spent) < len(text) * 4 * (times + 3)


def test_whoever_pays_for_a_search_can_end_it() -> None:
    def refuse(steps: int) -> None:
        if steps > 100:
            raise ExpressionError("enough")

    with pytest.raises(ExpressionError, match="enough"):
        compile_regex("a").search("b" * 10_000, refuse)


def test_forgetting_remembered_sets_changes_no_answer() -> None:
    regex = compile_regex("(a|b)*a(a|b){12}c")
    text = "".join("ab"[number.bit_count() % 2] for number in range(4_000))
    assert regex.search(text) is False
    assert regex.search(text + "abbbbbbbbbbbbc") is True


letters = st.sampled_from(["a", "b", "0", "_", " ", "\n", "-", "A", "é"])
atoms = st.one_of(
    letters.map(re.escape),
    st.sampled_from([".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\b", r"\B", "^", r"\A", "[ab]", "[^a\n]",
                     "[0-9_]", r"[\s\d]", "[b-]"]),
)  # fmt: skip


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?", "??", "{1,3}?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, repeats).map(lambda two: f"({two[0]}){two[1]}"),
    )


@settings(max_examples=400, deadline=None)
@given(
    pattern=st.recursive(atoms, grown, max_leaves=8),
    text=st.lists(letters, max_size=12).map("".join),
    flags=st.sets(st.sampled_from("ims")),
)
def test_safe_patterns_mean_the_same_as_in_python(pattern: str, text: str, flags: set[str]) -> None:
    switches = f"(?{''.join(sorted(flags))})" if flags else ""
    if ("é" in pattern and "i" in flags) or (r"\B" in pattern and not text):
        return  # Python's ASCII mode folds no other letters, and its \B is wrong about the empty text
    expected = re.search(switches + pattern, text, re.ASCII) is not None
    assert compile_regex(switches + pattern).search(text) is expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab()[]{}|*+?^$.\\dwsbpPQEx-:,0129iL<>=!", max_size=12), st.text(max_size=12))
def test_any_text_is_a_pattern_or_an_expression_error(pattern: str, text: str) -> None:
    try:
        compile_regex(pattern).search(text)
    except ExpressionError:
        return
