"""Garbage is looked for seldom, and not in what stands since the start."""

import gc

from tierline_operator.garbage import MIDDLE, OLD, YOUNG, look_seldom


def test_what_stands_at_the_start_is_not_looked_through_again():
    usual = gc.get_threshold()
    try:
        look_seldom()
        assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
