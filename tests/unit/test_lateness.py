"""The lateness of steps in buckets: nothing is lost, and what is said is never too good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.realtime.lateness import BUCKETS, counted, most_us
from device.realtime.link import HeartbeatPage
from tests.support.core import LAW

LATENESS = st.lists(st.integers(-10_000, 20_000_000_000), max_size=50)


@pytest.mark.parametrize(
    ("late_ns", "bucket"),
    [(-5, 0), (0, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (3_999, 2), (4_000, 3), (10**15, BUCKETS - 1)],
)
def test_each_bucket_is_twice_as_wide_as_the_one_before(late_ns: int, bucket: int) -> None:
    assert counted([late_ns]) == [int(place == bucket) for place in range(BUCKETS)]


@LAW
@given(late_ns=LATENESS, share=st.sampled_from([0.0, 0.5, 0.99, 0.999, 1.0]))
def test_no_more_than_the_rest_was_later_than_what_is_said(late_ns: list[int], share: float) -> None:
    most = most_us(counted(late_ns), share)
    if not late_ns:
        assert most == -1
        return
    later = sum(late >= most * 1000 for late in late_ns if late < 4_000_000_000)
    assert later <= (1 - share) * len(late_ns) + 1e-9


def test_a_page_adds_up_what_the_shots_bring_and_beats_beside_it() -> None:
    page = HeartbeatPage(HeartbeatPage.create())
    assert page.late_counts == (0,) * BUCKETS
    page.beat(5, 7)
    page.permit(9)
    page.add_lateness([500, 1_500])
    page.add_lateness([1_700, 10**15])
    assert page.late_counts == (1, 2, *(0,) * (BUCKETS - 3), 1)
    assert (page.scan_ns, page.position, page.permit_until_ns) == (5, 7, 9)
    page.close()
