"""Clustering: do k-means groups match the classes?

The hub id and revision are those of mteb 2.26's own task metadata; they could not be downloaded where this file was written.
"""

from mipic_bench.tasks._base import Task

TWENTY_NEWSGROUPS = Task(
    name="twenty_newsgroups",
    family="clustering",
    title="20 Newsgroups: subject lines of 20 groups (mteb scores ten sampled sets; here they are joined, each text once)",
    source="mteb/twentynewsgroups-clustering",
    revision="6125ec4e24fa026cec8a478383ee943acfbd5449",
    licence="not specified",
    citation="Lang. NewsWeeder. ICML 1995. https://doi.org/10.1016/B978-1-55860-377-6.50048-7",
    columns={"sentences": "text", "labels": "label"},
)
