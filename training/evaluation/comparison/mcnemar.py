"""McNemar's test in its exact form: may two networks be equally good, given where they disagree?"""

from __future__ import annotations


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The probability, 0..1, of a split at least as uneven if either is as likely to be the only one right.

    The arguments count the images that only the first and only the second gets right; images that both or neither
    gets right say nothing. Two-sided, by the binomial distribution with 1/2. McNemar, Note on the sampling error of the
    difference between correlated proportions or percentages, Psychometrika 12 (1947), 153-157; the exact form is in
    Fagerland, Lydersen and Laake, The McNemar test for binary matched-pairs data, BMC Medical Research Methodology 13
    (2013), 91.
    """
    disagreed, fewer = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 1  # of choosing 0 of them; whole numbers, so nothing is rounded
    for chosen in range(fewer):
        ways = ways * (disagreed - chosen) // (chosen + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << disagreed))
