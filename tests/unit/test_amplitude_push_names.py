"""Which cohort the name of a list or a property is about."""

import time

import pytest

from syncd.sources.amplitude_push.names import MAX_CHARACTERS, CohortNames, printable


def read(text: str, *known: str) -> tuple[str, str] | None:
    cohort = CohortNames(known).cohort_in(text)
    return (cohort.id, cohort.name) if cohort else None


@pytest.mark.parametrize(
    ("text", "id_", "name"),
    [
        ("[Amplitude] Cohort A: 7khm89cz", "7khm89cz", "Cohort A"),
        ("[Amplitude] Cohort A (7khm89cz)", "7khm89cz", "Cohort A"),
        ("Cohort A (7khm89cz)", "7khm89cz", "Cohort A"),
        ("Cohort A: 7khm89cz", "7khm89cz", "Cohort A"),
        ("cohort name:123", "123", "cohort name"),
        ("amplitude_Cohort A_7khm89cz", "7khm89cz", "Cohort A"),
        ("[amplitude]Cohort A: 7khm89cz", "7khm89cz", "Cohort A"),
        ("  [Amplitude]   Cohort A :  7khm89cz  ", "7khm89cz", "Cohort A"),
        ("[Amplitude] : 7khm89cz", "7khm89cz", ""),
        ("(7khm89cz)", "7khm89cz", ""),
        ("Paid: yes (EU): 7khm89cz", "7khm89cz", "Paid: yes (EU)"),
        ("Paid: yes (EU) (7khm89cz)", "7khm89cz", "Paid: yes (EU)"),
        ("((((7khm89cz)", "7khm89cz", "((("),
        ("a::7khm89cz", "7khm89cz", "a:"),
        ("amplitude_a_b: c (d)_7khm89cz", "7khm89cz", "a_b: c (d)"),
        ("amplitude_a (7khm89cz)", "7khm89cz", "amplitude_a"),
        ("amplitude_a: 7khm89cz", "7khm89cz", "amplitude_a"),
        ("[Amplitude] amplitude_a_b: 7khm89cz", "7khm89cz", "amplitude_a_b"),
        ("naïve ☃\n\U0001f600 (7khm89cz)", "7khm89cz", "naïve ☃\ufffd\U0001f600"),
    ],
)
def test_the_id_is_the_last_token(text: str, id_: str, name: str) -> None:
    assert read(text) == (id_, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "7khm89cz",
        "Cohort A",
        "[Amplitude] 7khm89cz",
        "Cohort A:",
        "Cohort A: ",
        "Cohort A ()",
        "Cohort A (two words)",
        "Cohort A: two words",
        "Cohort A (é)",
        "Cohort A (7khm89cz) and more",
        "Cohort A 7khm89cz)",
        "Cohort A: " + "x" * 101,
        "is_admin",
        "amplitude_id",
        "amplitude_",
        "amplitude__",
        "amplitude__id",
        "Amplitude_a_7khm89cz",
        ":" * MAX_CHARACTERS,
        "x" * MAX_CHARACTERS + ": 7khm89cz",
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_fits_no_spelling_is_about_no_cohort(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "known", "id_"),
    [
        ("amplitude_My_Cohort_ab_cd", ["ab_cd"], "ab_cd"),
        ("amplitude_My_Cohort_ab_cd", ["cd", "ab_cd"], "ab_cd"),
        ("amplitude_My_Cohort_ab_cd", ["other"], "cd"),
        ("amplitude_7khm89cz", ["7khm89cz"], "7khm89cz"),
        ("amplitude_Paid: ab_cd", ["ab_cd"], "ab_cd"),
        ("7khm89cz", ["7khm89cz"], "7khm89cz"),
        ("Cohort A: odd id", ["odd id"], "odd id"),
    ],
)
def test_an_id_that_a_sync_reads_is_preferred(
    text: str, known: list[str], id_: str
) -> None:
    found = read(text, *known)

    assert found is not None
    assert found[0] == id_


@pytest.mark.parametrize(
    ("text", "id_"), [("A: xcd", "xcd"), ("A: x_cd", "x_cd"), ("A (x-cd)", "x-cd")]
)
def test_a_known_id_is_not_found_inside_another(text: str, id_: str) -> None:
    assert read(text, "cd") == (id_, "A")


def test_a_name_is_stored_without_what_stores_and_terminals_do_not_take() -> None:
    assert printable(" a\x00b\x1b[1m\u2028c\ud800 ") == "a\ufffdb\ufffd[1m\ufffdc\ufffd"
    assert len(printable("x" * 5000)) == MAX_CHARACTERS


def test_no_name_costs_more_than_its_length() -> None:
    """8 MiB of the worst names: seconds, where every `_` is tried; now some 30 ms."""
    names = CohortNames({"7khm89cz", "a_b", "1"})
    worst = [
        f"amplitude_{number:05d}".ljust(MAX_CHARACTERS, "_") for number in range(8_000)
    ]
    began = time.process_time()

    found = [names.cohort_in(text) for text in worst]

    assert time.process_time() - began < 1
    assert found == [None] * len(worst)
