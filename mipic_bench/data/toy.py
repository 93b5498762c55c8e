"""The project's own small data: made from templates, the same at every call, with train, dev and test of every family.

Sentences tell scenes (who did what to which thing, where, when) in many wordings, or put requests to a help desk. Because
the scenes are known, gold answers are computed, not judged: paraphrases keep every slot, graded pairs change some. No
sentence stands in two splits, in two tasks, or in a task and a corpus. Real data decide questions; this is for a first
run without a network, and for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from mipic_bench.data.toy_words import ENDINGS, INTENTS, IRREGULAR, OPENINGS, SCENES, TIMES
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import numpy as np
else:
    np = lazy("numpy")

SLOTS = ("who", "did", "how", "what", "where", "when")
WEIGHTS = {
    "who": 0.2,
    "did": 0.25,
    "how": 0.1,
    "what": 0.3,
    "where": 0.1,
    "when": 0.05,
}  # share of the meaning; sums to 1
SIZES = {"train": 800, "dev": 200, "test": 300}  # rows of sts and pair
_SEED = 20260427
_FORMS = (
    "{Who} {did} {what} {where} {when}.",
    "{When}, {who} {did} {what} {where}.",
    "{Where}, {who} {did} {what} {when}.",
    "{What} {was} {done} by {who} {where} {when}.",
    "{When}, {what} {was} {done} {where} by {who}.",
)
_SHORT_FORMS = (  # half a scene, so that topics are not told by every word
    "{Who} {did} something {where}.",
    "{When}, somebody {did} {what}.",
    "Something happened to {what} {where}.",
    "{Who} {did} something {when}.",
)

Table = dict[str, list[Any]]  # column -> values


@dataclass(frozen=True)
class Scene:
    """What a sentence says: a topic, one group of words per slot of SLOTS, and whether it is denied."""

    topic: str
    groups: tuple[int, ...]
    negated: bool = False

    def words(self, slot: str) -> list[str]:
        """Return the synonyms of a slot."""
        lists = TIMES if slot == "when" else SCENES[self.topic][slot]
        return lists[self.groups[SLOTS.index(slot)]].split("|")


@dataclass(frozen=True)
class ToyTask:
    """Raw columns by split; retrieval also has documents (`_id`, `title`, `text`) and queries (`_id`, `text`)."""

    family: str
    splits: Mapping[str, Table]
    documents: Sequence[Mapping[str, str]] = ()
    queries: Sequence[Mapping[str, str]] = ()


class Writer:
    """Draws scenes and words, and never writes the same sentence twice."""

    def __init__(self, used: set[str], stream: int) -> None:
        self.used = used
        self.generator = np.random.default_rng((_SEED, stream))

    def pick(self, options: Sequence[Any]) -> Any:
        """Draw one of the options."""
        return options[int(self.generator.integers(len(options)))]

    def scene(self, topic: str = "") -> Scene:
        """Draw a scene, of any topic unless one is given."""
        topic = topic or self.pick(list(SCENES))
        sizes = [len(TIMES if slot == "when" else SCENES[topic][slot]) for slot in SLOTS]
        return Scene(topic, tuple(int(self.generator.integers(size)) for size in sizes))

    def changed(self, scene: Scene, slots: Sequence[str]) -> Scene:
        """Return the scene with another group in each of the slots."""
        groups = list(scene.groups)
        for slot in slots:
            place = SLOTS.index(slot)
            size = len(TIMES if slot == "when" else SCENES[scene.topic][slot])
            groups[place] = (groups[place] + 1 + int(self.generator.integers(size - 1))) % size
        return replace(scene, groups=tuple(groups))

    def some_slots(self, count: int) -> list[str]:
        """Draw `count` different slots."""
        return [SLOTS[place] for place in self.generator.permutation(len(SLOTS))[:count]]

    def sentence(self, scene: Scene, forms: Sequence[str] = _FORMS) -> str:
        """Put a scene into words that were not used before."""
        return self.fresh(lambda: self._worded(scene, forms))

    def fresh(self, write: Callable[[], str]) -> str:
        """Return the first text that was not used before."""
        while (text := write()).casefold() in self.used:
            pass
        self.used.add(text.casefold())
        return text

    def _worded(self, scene: Scene, forms: Sequence[str]) -> str:
        word = {slot: self.pick(scene.words(slot)) for slot in SLOTS}
        base, *rest = word["did"].split(" ")
        past, participle = (" ".join([form, *rest]) for form in _forms(base))
        what = f"the {word['how']} {word['what']}"
        parts = {
            "who": f"the {word['who']}",
            "what": what,
            "where": word["where"],
            "when": word["when"],
            "did": f"did not {word['did']}" if scene.negated else past,
            "done": participle,
            "was": "was not" if scene.negated else "was",
        }
        capitals = {name.capitalize(): part[0].upper() + part[1:] for name, part in parts.items()}
        return str(self.pick(forms)).format(**parts, **capitals)


def similarity(first: Scene, second: Scene) -> float:
    """Return the gold similarity of two scenes, 0 to 5.

    5 for the same scene, 1 for nothing in common but the topic, 0 for different topics; 1.6 less when one denies the other.
    """
    if first.topic != second.topic:
        return 0.0
    shared = sum(
        WEIGHTS[slot] for slot, left, right in zip(SLOTS, first.groups, second.groups, strict=True) if left == right
    )
    return round(max(1 + 4 * shared - 1.6 * (first.negated != second.negated), 0.5), 2)


@cache
def _tasks() -> Mapping[str, ToyTask]:
    """Write every task, in this order and with one memory of what was written."""
    used: set[str] = set()
    makers = (_sts, _classification, _pair, _retrieval, _clustering)
    return {f"toy-{make.__name__[1:]}": make(Writer(used, stream)) for stream, make in enumerate(makers)}


@cache
def _corpora() -> tuple[set[str], dict[str, Table]]:
    """Return what was written so far, of sentences that no task has, and the corpora made of it: none at first."""
    return {text.casefold() for made in _tasks().values() for text in _texts(made)}, {}


TASKS = ("toy-sts", "toy-classification", "toy-pair", "toy-retrieval", "toy-clustering")
CORPORA = {"toy": "text", "toy-pairs": "pairs", "toy-triplets": "triplets", "toy-scored": "scored"}  # name -> kind


def task(name: str) -> ToyTask:
    """Return a toy task by its name in TASKS."""
    return _tasks()[name]


def corpus(name: str) -> Table:
    """Return a toy corpus by its name in CORPORA, as column -> values. Those before it are written first."""
    used, written = _corpora()
    makers = (_text_corpus, _pairs_corpus, _triplets_corpus, _scored_corpus)
    for stream, (next_name, make) in enumerate(zip(CORPORA, makers, strict=True)):
        if name in written:
            break
        if next_name not in written:
            written[next_name] = make(Writer(used, 100 + stream))
    return written[name]


def _texts(made: ToyTask) -> Iterator[str]:
    for table in made.splits.values():
        for column in ("text", "sentence1", "sentence2"):
            yield from table.get(column, ())
    for entry in (*made.documents, *made.queries):
        yield entry["text"]


def _forms(base: str) -> tuple[str, str]:
    """Return the past and the participle of a verb."""
    if base in IRREGULAR:
        return IRREGULAR[base]
    if base.endswith("e"):
        form = base + "d"
    elif base.endswith("y") and base[-2] not in "aeou":
        form = base[:-1] + "ied"
    else:
        form = base + "ed"
    return form, form


def _sts(writer: Writer) -> ToyTask:
    return ToyTask("sts", {split: _graded(writer, size) for split, size in SIZES.items()})


def _graded(writer: Writer, rows: int) -> Table:
    """Write pairs with every number of changed slots equally often: none (a paraphrase) to another topic altogether."""
    table: Table = {"sentence1": [], "sentence2": [], "score": []}
    for row in range(rows):
        scene = writer.scene()
        edits = row % 7
        other = writer.changed(scene, writer.some_slots(edits)) if edits < 6 else writer.scene()
        other = replace(other, negated=writer.generator.random() < 0.15)
        _add(table, writer.sentence(scene), writer.sentence(other), similarity(scene, other))
    return table


def _pair(writer: Writer) -> ToyTask:
    """Same scene or not; the negatives differ in little."""
    splits = {}
    for split, rows in SIZES.items():
        table: Table = {"sentence1": [], "sentence2": [], "label": []}
        for row in range(rows):
            scene = writer.scene()
            other = scene if row % 2 else _near_miss(writer, scene)
            _add(table, writer.sentence(scene), writer.sentence(other), str(row % 2))
        splits[split] = table
    return ToyTask("pair", splits)


def _near_miss(writer: Writer, scene: Scene) -> Scene:
    if writer.generator.random() < 0.2:
        return replace(scene, negated=True)
    return writer.changed(scene, writer.some_slots(1 + int(writer.generator.integers(3))))


def _classification(writer: Writer) -> ToyTask:
    """Requests by intent. Each split knows four of the six ways to put an intent: two of the test's are never seen in training."""
    ways = {"train": (0, 1, 2, 3), "dev": (1, 2, 3, 4), "test": (2, 3, 4, 5)}
    return ToyTask("classification", {split: _requests(writer, known, SIZES[split]) for split, known in ways.items()})


def _requests(writer: Writer, ways: Sequence[int], rows: int) -> Table:
    table: Table = {"text": [], "label": []}
    for row in range(rows):
        intent = list(INTENTS)[row % len(INTENTS)]
        _add(table, writer.fresh(lambda intent=intent: _request(writer, INTENTS[intent][writer.pick(ways)])), intent)  # type: ignore[misc]
    return table


def _request(writer: Writer, core: str) -> str:
    opening = writer.pick(OPENINGS)
    start = core if opening.endswith((", ", ": ")) else core[0].upper() + core[1:]
    return f"{opening}{start}{writer.pick(ENDINGS)}"


def _clustering(writer: Writer) -> ToyTask:
    splits = {}
    for split, rows in SIZES.items():
        table: Table = {"text": [], "label": []}
        for row in range(rows):
            topic = list(SCENES)[row % len(SCENES)]
            _add(table, writer.sentence(writer.scene(topic), _SHORT_FORMS), topic)
        splits[split] = table
    return ToyTask("clustering", splits)


def _retrieval(writer: Writer) -> ToyTask:
    """Short reports of three scenes, and questions after one of them in other words.

    Relevance 2: the report tells that scene. Relevance 1: it tells one with the same deed and thing.
    """
    told = [[writer.scene(topic) for _ in range(3)] for topic in SCENES for _ in range(34)]
    documents = [
        {"_id": f"d{number}", "title": f"Report {number + 1}", "text": " ".join(map(writer.sentence, scenes))}
        for number, scenes in enumerate(told)
    ]
    order = writer.generator.permutation(len(told))
    telling: dict[tuple[Any, ...], list[int]] = {}  # deed and thing -> the reports that tell of them
    for document, scenes in enumerate(told):
        for key in {_deed_and_thing(scene) for scene in scenes}:
            telling.setdefault(key, []).append(document)
    sizes = {"train": 100, "dev": 80, "test": 200}
    splits, queries, start = {}, [], 0
    for split, size in sizes.items():
        table: Table = {"query-id": [], "corpus-id": [], "score": []}
        for number in order[start : start + size]:
            scene = writer.pick(told[number])
            queries.append({"_id": f"q{number}", "text": writer.fresh(lambda scene=scene: _question(writer, scene))})  # type: ignore[misc]
            for document in telling[_deed_and_thing(scene)]:
                _add(table, f"q{number}", f"d{document}", 2 if scene in told[document] else 1)
        splits[split], start = table, start + size
    return ToyTask("retrieval", splits, documents, queries)


def _deed_and_thing(scene: Scene) -> tuple[Any, ...]:
    return scene.topic, scene.groups[SLOTS.index("did")], scene.groups[SLOTS.index("what")]


def _question(writer: Writer, scene: Scene) -> str:
    word = {slot: writer.pick(scene.words(slot)) for slot in SLOTS}
    forms = (
        "When did the {who} {did} the {what} {where}?",
        "Did the {who} {did} the {how} {what}?",
        "Where did the {who} {did} the {how} {what}?",
        "Tell me what the {who} had to do with the {how} {what} {where}.",
    )
    return str(writer.pick(forms)).format(**word)


def _text_corpus(writer: Writer) -> Table:
    """Write 800 scenes and 400 requests, unlabelled."""
    scenes = [writer.sentence(replace(writer.scene(), negated=row % 8 == 0)) for row in range(800)]
    requests = _requests(writer, (0, 1, 2, 3), 400)["text"]
    return {"text": [text for group in zip(scenes[::2], scenes[1::2], requests, strict=True) for text in group]}


def _pairs_corpus(writer: Writer) -> Table:
    table: Table = {"anchor": [], "positive": []}
    for scene in (writer.scene() for _ in range(1200)):
        _add(table, writer.sentence(scene), writer.sentence(scene))
    return table


def _triplets_corpus(writer: Writer) -> Table:
    table: Table = {"anchor": [], "positive": [], "negative": []}
    for scene in (writer.scene() for _ in range(1200)):
        _add(table, writer.sentence(scene), writer.sentence(scene), writer.sentence(_near_miss(writer, scene)))
    return table


def _scored_corpus(writer: Writer) -> Table:
    return _graded(writer, 1200)


def _add(table: Table, *values: Any) -> None:
    for column, value in zip(table.values(), values, strict=True):
        column.append(value)
