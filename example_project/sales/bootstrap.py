from random import Random
from statistics import fmean

RESAMPLES = 400


def mean_interval(values, seed=1):
    """Between which bounds the true mean lies, nineteen times out of twenty.

    The bootstrap: draw as many values again, at random, and and see how far the mean
    moves from one draw to the next.
    """
    random = Random(seed)  # noqa: S311 (repeatable draws, nothing secret)
    means = sorted(
        fmean(random.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    edge = RESAMPLES // 40
    return means[edge], means[-edge - 1]
