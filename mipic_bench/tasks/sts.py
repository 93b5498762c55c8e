"""English semantic textual similarity.

The hub ids and revisions are those of mteb 2.26's own task metadata; they could not be downloaded where this file was
written. mteb's texts are the SentEval-tokenized ones (STS12 has 2,902 unique pairs there, 2,913 in the original), so
local files of the original texts give a digest of their own.
"""

from mipic_bench.tasks._base import Task

STS12 = Task(
    name="sts12",
    family="sts",
    title="STS 2012: news, video captions and translations",
    source="mteb/sts12-sts",
    revision="a0d554a64d88156834ff5ae9920b964011b16384",
    mteb="STS12",
    licence="not specified (MSR parts: MSR licence terms)",
    citation="Agirre, Cer, Diab, Gonzalez-Agirre. SemEval-2012 Task 6. *SEM 2012. https://aclanthology.org/S12-1051",
)
STS13 = Task(
    name="sts13",
    family="sts",
    title="STS 2013: headlines, FrameNet and OntoNotes glosses (without SMT, which is not public)",
    source="mteb/sts13-sts",
    revision="7e90230a92c190f1bf69ae9002b8cea547a64cca",
    mteb="STS13",
    licence="not specified",
    citation="Agirre, Cer, Diab, Gonzalez-Agirre, Guo. *SEM 2013 shared task. https://aclanthology.org/S13-1004",
)
STS14 = Task(
    name="sts14",
    family="sts",
    title="STS 2014: forums, news, headlines, images, glosses, tweets",
    source="mteb/sts14-sts",
    revision="6031580fec1f6af667f0bd2da0a551cf4f0b2375",
    mteb="STS14",
    licence="not specified",
    citation="Agirre et al. SemEval-2014 Task 10. https://aclanthology.org/S14-2010",
)
STS15 = Task(
    name="sts15",
    family="sts",
    title="STS 2015: answers, beliefs, headlines, images, students",
    source="mteb/sts15-sts",
    revision="ae752c7c21bf194d8b67fd573edf7ae58183cbe3",
    mteb="STS15",
    licence="not specified",
    citation="Agirre et al. SemEval-2015 Task 2. https://aclanthology.org/S15-2045",
)
STS16 = Task(
    name="sts16",
    family="sts",
    title="STS 2016: answers, headlines, plagiarism, post-editing, questions",
    source="mteb/sts16-sts",
    revision="4d8694f8f0e0100860b497b999b3dbed754a0513",
    mteb="STS16",
    licence="not specified",
    citation="Agirre et al. SemEval-2016 Task 1. https://aclanthology.org/S16-1081",
)
STSB = Task(
    name="stsb",
    family="sts",
    title="STS Benchmark: a selection of STS 2012-2017 with train, dev and test",
    source="mteb/stsbenchmark-sts",
    revision="b0fddb56ed78048fa8b90373c8a3cfc37b684831",
    mteb="STSBenchmark",
    licence="scores CC BY-SA 4.0; texts under each origin's terms",
    citation="Cer, Diab, Agirre, Lopez-Gazpio, Specia. SemEval-2017 Task 1. https://aclanthology.org/S17-2001",
)
SICK_R = Task(
    name="sick_r",
    family="sts",
    title="SICK relatedness with SemEval-2014's own train, dev and test (4,500 / 500 / 4,927 pairs)",
    source="",  # the hub copies known to us are filtered (4,906 test pairs) or joined (see sick_r_all)
    revision="",
    licence="CC BY-NC-SA 3.0",
    citation="Marelli et al. A SICK cure. LREC 2014. https://aclanthology.org/L14-1314",
    score_range=(1.0, 5.0),
)
SICK_R_ALL = Task(
    name="sick_r_all",
    family="sts",
    title="SICK relatedness, all 9,927 pairs in one test split: mteb's SICK-R, not comparable with sick_r",
    source="mteb/sickr-sts",
    revision="20a6d6f312dd54037fe07a32d58e5e168867909d",
    mteb="SICK-R",
    licence="CC BY-NC-SA 3.0",
    citation="Marelli et al. A SICK cure. LREC 2014. https://aclanthology.org/L14-1314",
    score_range=(0.0, 5.0),
)
