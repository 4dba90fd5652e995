"""The story of a failed test: 40 lines at most, what failed kept, what repeats said once."""

from __future__ import annotations

from pytest_sonemu.reports.story import Entry, fold, tell


def test_a_long_story_has_40_lines_keeps_failures_and_counts_the_rest() -> None:
    entries = [Entry(float(at), "log", "web" if at % 4 else "fw", f"line {at}") for at in range(100)]
    entries[3] = Entry(3.0, "probe", "input", "dropped", failed=True)
    entries[5] = Entry(5.0, "did", "fw", "restarted")
    began, *lines, last = tell(entries, 0.0, where="papers")
    assert began.startswith("began at ")
    assert len(lines) == 38
    assert [line for line in lines if "! probe  input: dropped" in line]
    assert [line for line in lines if "did    fw: restarted" in line]
    # Of log lines the latest are kept, in their order.
    assert lines[-1].endswith("line 99")
    assert [float(line.split()[0]) for line in lines] == [3.0, 5.0, *map(float, range(64, 100))]
    assert last == "not shown: 62 lines (web 46, fw 16); all of them: papers"


def test_a_story_that_fits_is_told_whole() -> None:
    entries = [Entry(float(at), "log", "web", f"line {at}") for at in range(39)]
    assert len(tell(entries, 0.0)) == 40
    assert not [line for line in tell(entries, 0.0) if "not shown" in line]
    assert tell([], 0.0) == []


def test_lines_that_repeat_are_one_with_their_number() -> None:
    lines = tell([Entry(float(at), "log", "web", "same") for at in range(5)], 0.0)
    assert [line.split("log", 1)[1].strip() for line in lines[1:]] == ["web: same (5 times)"]


def test_how_long_each_took_is_not_compared() -> None:
    probes = [
        Entry(1.0 * at, "probe", "input", f"<open: tcp input -> web: answered (0.00{at} s)>")
        for at in range(1, 6)
    ]
    commands = [Entry(9.0 + at, "did", "fw", f"exec `true` ended with 0 after 0.09{at} s") for at in range(5)]
    folded = fold([*probes, *commands])
    assert [(each.text, each.times) for each in folded] == [(probes[0].text, 5), (commands[0].text, 5)]


def test_what_differs_is_told_apart() -> None:
    first = Entry(1.0, "probe", "input", "<open (0.001 s)>")
    others = [
        Entry(2.0, "probe", "input", "<refused (0.001 s)>"),
        Entry(3.0, "probe", "output", "<open (0.001 s)>"),
        Entry(4.0, "probe", "input", "<open (0.001 s)>", failed=True),
        Entry(5.0, "note", "input", "<open (0.001 s)>", failed=True),
    ]
    assert fold([first, *others]) == [first, *others]
