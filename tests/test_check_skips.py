"""The comparison of skips notices what is missing on either side."""

from pathlib import Path

import pytest

from tests.check_skips import Skip, compare, read_recorded, read_results

RESULTS = """<testsuites><testsuite name="pytest">
<testcase classname="tests.a.test_x" name="test_one" />
<testcase classname="tests.a.test_x" name="test_two[uvloop]">
  <skipped type="pytest.skip" message="uvloop is not installed">test_x.py:1: uvloop is not installed</skipped>
</testcase>
<testcase classname="tests.a.test_x" name="test_three"><skipped type="pytest.xfail" message="known" /></testcase>
<testcase classname="" name="tests.a.test_y">
  <skipped type="pytest.skip" message="collection skipped">('test_y.py', 3, 'Skipped: no strace')</skipped>
</testcase>
</testsuite></testsuites>"""


def test_reads_skips_and_not_expected_failures(tmp_path: Path) -> None:
    """A skip of a whole module has its reason too."""
    results = tmp_path / "results.xml"
    results.write_text(RESULTS)
    skips, ran = read_results(results)
    assert ran == 2
    assert skips == [
        Skip("tests.a.test_x::test_two[uvloop]", "uvloop is not installed"),
        Skip("tests.a.test_y", "no strace"),
    ]


SKIP = Skip("tests.a.test_x::test_two[uvloop]", "uvloop is not installed")


@pytest.mark.parametrize(
    ("recorded", "wrong"),
    [
        ("True | tests.a.*[uvloop] | uvloop is not *", 0),
        ("# nothing", 1),
        ("maybe | tests.a.* | *\nmaybe | tests.b.* | *", 0),
        ("False | tests.a.*[uvloop] | *", 1),
        ("True | tests.a.*[uvloop] | another reason", 2),
        ("True | tests.a.* | *\npython >= (3, 11) and not has('no_such') | tests.b.* | *", 1),
        ("True | tests.a.* | *\nhas('no_such_module') or tool('no-such-tool') | tests.b.* | *", 0),
    ],
)
def test_compares(recorded: str, wrong: int) -> None:
    """Each line must cover a skip, and each skip be covered, where conditions hold."""
    assert len(compare([SKIP], read_recorded(recorded))) == wrong


def test_refuses_a_malformed_line() -> None:
    """A typing error is not a comment."""
    with pytest.raises(SystemExit, match=r"skips\.txt:1"):
        read_recorded("True | only two")
