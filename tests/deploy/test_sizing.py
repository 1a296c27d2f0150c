"""The numbers of the guide's Sizing are those that were measured, as docs/performance.md and README.md have them."""

import re

from templates import ROOT

GUIDE, MEASURED, SUMMARY = ((ROOT / page).read_text() for page in ("deploy/README.md", "docs/performance.md", "README.md"))
SECTION = GUIDE.split("\n## Sizing\n", 1)[1].split("\n## ", 1)[0]
# How much is launched, and how fast, of which nothing is measured.
GIVEN = {"10,000", "50,000", "100"}


def measured(row, what):
    """The figure in a row of docs/performance.md."""
    (found,) = re.findall(rf"^\| `{row}` \| {re.escape(what)} \| [^|]+ \| \**([\d.,]+)", MEASURED, re.MULTILINE)
    return float(found.replace(",", ""))


def summed_up(what, pattern):
    """A figure in a row of the table in README.md."""
    (row,) = re.findall(rf"^\| {re.escape(what)}[^|]*\|([^\n]*)\|$", SUMMARY, re.MULTILINE)
    return float(re.search(pattern, row)[1])


def each():
    return summed_up("worker CPU per launch", r"([\d.]+) ms")


def expected():
    """By how a row of Sizing begins, what it must say and nothing else."""
    calls = "API calls per launch, a backlog of 10,000"
    often = 10_000 / 10 / measured("missing", "the longest that a node was not asked for")
    within, busy = (re.search(pattern, MEASURED) for pattern in (r"it has (\d+ to \d+ MiB)", r"(\d+ to \d+) MiB in `growth`"))
    return {
        "a backlog of 10,000 launches": [
            f"{each() * 10:.1f} s in all, {each():.2f} ms each",
            f"{within[1]} with 50,000; {busy[1]} where others took both cores",
            f"{measured('calls', 'a backlog, require_owner off'):.1f} to {summed_up(calls, r'require_owner`: ([0-9.]+) calls'):.1f} calls a launch",
        ],
        "10,000 launches held": [f"{measured('held', 'of one core'):.2f}% of a core", f"{measured('held', 'resident, at most'):.0f} MiB"],
        "the server is back": [f"in service after {measured('held', 'HEALTHY until all are in service'):.0f} s"],
        "10,000 nodes whose key": [f"`key_rate`: {often:.0f} reads a second, of ten names each"],
        "nothing": [
            f"{measured('idle', 'voluntary context switches a minute'):.0f} wake-ups a minute",
            f"{measured('idle', 'resident'):.0f} MiB, {measured('idle', 'of it anonymous'):.1f} of it its own",
        ],
    }


def rows():
    return [line for line in SECTION.splitlines() if re.match(r"\| (?!---|what happens)", line)]


def test_each_number_of_sizing_is_one_that_was_measured():
    left = expected()
    for row in rows():
        if "(not measured, but follows)" in row:
            continue
        (begins,) = [begins for begins in left if row.startswith(f"| {begins}")]
        for text in left.pop(begins):
            assert text in row, f"not {text!r}, as measured, in {row}"
            row = row.replace(text, "")
        assert set(re.findall(r"\d[\d,.]*\d|\d", row)) <= GIVEN, f"a number that is measured nowhere: {row}"
    assert not left, "these rows are not there any more"


def test_what_is_made_of_the_numbers_of_sizing_is_reckoned_from_them():
    whole = each() * 10
    assert f"{whole:.1f} s of a core are {whole * 4:.0f} s of a quarter of one" in SECTION.replace("\n", " ")
    most = max(int(number) for number in re.findall(r"(\d+) where others took both cores", SECTION))
    assert 4 < 512 / most < 6 and "is a fifth of what it has" in SECTION
