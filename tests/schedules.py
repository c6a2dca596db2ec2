"""The scheduler of `stress.interleave`, for the tests."""

from stress.interleave import *  # noqa: F403
