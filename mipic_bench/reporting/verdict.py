"""The first screen: which method to use at a width, how sure that is, and what each component is worth."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from mipic_bench.analysis.alike import mixed, unlike
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick, small_dim
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.reporting import Block, Live, Material, Prose, Section, Shown, Words
from mipic_bench.reporting._choice import Standing, against, depth_scored, recommended, standings, surely_behind
from mipic_bench.reporting._worth import bases, in_words, worth
from mipic_bench.stats.estimates import UNKNOWN

ANY = "not distinguishable from any other"  # of the method to use, where nothing is known at all


class Verdict(Section):
    """Plain sentences, each made from the statistics."""

    title = "Verdict"
    order = 0

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: one card per width, what was not trained alike, the table of all widths, and what components are worth."""
        view = material.view
        dims = sorted({int(dim) for dim in pick(view.estimates, precision="float32")["dim"]})
        if not dims:
            yield Prose("No family has a method with complete float32 scores, so there is nothing to compare.")
            return
        yield Live(_picker(dims, small_dim(dims)))
        yield from _in_words(view)
        for setting in view.settings:
            for dim in dims if _dims(view, setting) else ():
                yield Live(_card(view, setting, dim), setting=setting)
            yield from _on_dev(view, setting)
            yield from _not_alike(view, setting)
            yield from _tables(view, setting, _dims(view, setting))
            yield from worth(view, setting)
        if bases(view):
            yield Prose(
                "Sentences on components speak of the tasks scored here. For other tasks the wider intervals apply, which "
                "take the tasks as a sample too (columns low_wide and high_wide of the tables).",
                note=True,
            )


def _dims(view: View, setting: Setting) -> list[int]:
    return sorted({int(dim) for dim in pick(view.estimates, setting, precision="float32")["dim"]})


def sentences(view: View, setting: Setting, dim: int) -> tuple[str, str, tuple[str, ...]]:
    """The verdict at a width: what to use, how sure that is, and one line per family."""
    found = standings(view, setting, dim)
    if not found:
        return f"Nothing was scored at {dim} dims of the deepest layer.", "", ()
    best = recommended(view, found)
    if len(_compared(found)) == 1:
        return f"At {dim} dims there is one method, {best}: nothing to compare it with.", "", _lines(found)
    brief, sure = how_sure(view, setting, found, best)
    leads = all(best in standing.leaders for standing in found)
    best_is = f"{best} {'scores highest' if leads else 'ranks best on average'}"
    say = f"At {dim} dims, use {best}."
    if brief.startswith(UNKNOWN):
        say = f"At {dim} dims, {best_is}."
    elif brief.startswith(ANY):
        say = f"At {dim} dims, {best_is}; no other method can be told from it."
    return say, f"How sure: {sure}", _lines(found)


def _compared(found: Sequence[Standing]) -> set[str]:
    return {method for standing in found for method in standing.scores}


def how_sure(view: View, setting: Setting, found: Sequence[Standing], best: str) -> tuple[str, str]:
    """How sure the choice is, in a few words and in a sentence: against whom it stands, and against whom it does not.

    Methods are compared in the families where both have a mean; who has none in one is said.
    """
    shared = [standing for standing in found if best in standing.scores and len(standing.scores) > 1]
    if not shared:
        brief, sure = UNKNOWN, f"it cannot be told. No other method has a mean on a family that {best} has one on."
        return brief, " ".join([sure, *_absences(found)])
    behind = {one.family: surely_behind(against(view, setting, one, best)) for one in shared}
    brief, sure = _against(shared, best, behind, "scored" if len(shared) == len(found) else "compared")
    if apart := sorted(_compared(found) - _compared(shared)):
        brief = f"{brief}; {in_words(apart)} not compared"
        sure = f"{sure} With {in_words(apart)} it shares no family."
    return brief, " ".join([sure, *_absences(found)])


def _absences(found: Sequence[Standing]) -> Iterator[str]:
    """One sentence per family without a mean of a method of another family: not scored on it, or not on all its tasks."""
    for standing in found:
        if absent := sorted(_compared(found) - set(standing.scores)):
            yield f"{in_words(absent)} {'has' if len(absent) == 1 else 'have'} no mean on {standing.family}."


def _against(found: Sequence[Standing], best: str, behind: Mapping[str, Sequence[str]], done: str) -> tuple[str, str]:
    """How sure the choice is over families in which it and another method were scored.

    Args:
        behind: family -> the methods that the choice is better than.
        done: what these families are: all that were "scored", or those "compared".
    """
    families = len(found)
    if all(not standing.behind and not standing.tied for standing in found):
        leads = f"{sum(best in standing.leaders for standing in found)} of {families} famil{'y' if families == 1 else 'ies'}"
        return UNKNOWN, (
            f"it cannot be told. {best} has the highest mean in {leads}, but with fewer than two seeds that both sides "
            "have chance is not ruled out."
        )
    lost = [standing for standing in found if not standing.may_be_best(best)]
    if lost:
        better = in_words([f"{standing.leader} is better on {standing.family}" for standing in lost])
        return (
            "depends on the family",
            f"it depends on the task. On {len(found) - len(lost)} of {_families(families)} no method is known to be better, but {better}.",
        )
    others = dict.fromkeys(name for standing in found for name in standing.scores if name != best)
    rivals = [name for name in others if not any(name in own for own in behind.values())]
    if rivals:
        where = "the family" if families == 1 else f"any of the {families} families"
        every = len(rivals) == len(others) > 1
        return ANY if every else f"not distinguishable from {in_words(rivals)}", (
            f"not sure. No method is known to be better, and {in_words(rivals)} cannot be told from it in {where} {done}."
        )
    if all(len(behind[standing.family]) == len(standing.scores) - 1 for standing in found):
        return "sure", f"sure. Every other method is behind it in {_families(families, every=True)} {done}."
    return "fairly sure", (
        f"fairly. No method is known to be better in any of the {families} families {done}, and every other method is "
        "behind it in at least one."
    )


def _families(count: int, every: bool = False) -> str:
    if count == 1:
        return "the one family"
    return f"all {count} families" if every else f"{count} families"


def _power(found: Sequence[Standing]) -> str:
    """How small a difference the seeds can show."""
    known = [float(value) for standing in found for value in standing.against["detectable"].dropna()]
    if not known:
        return ""
    size = f"{100 * max(known):.1f} points"
    return (
        f" With these seeds, a true difference below about {size} may go unseen (80 % power, before Holm's correction)."
    )


def _lines(found: Sequence[Standing]) -> tuple[str, ...]:
    return tuple(_line(standing) for standing in found)


def _line(standing: Standing) -> str:
    """One family: who leads, over whom that is sure, and whom it cannot be told from."""
    seeds = f"{standing.seeds} seeds" if standing.seeds > 1 else "1 run"
    tasks = f"{standing.tasks} task{'s' * (standing.tasks > 1)}"
    lead = "leads" if len(standing.leaders) == 1 else "lead"
    text = f"{standing.family}: {in_words(standing.leaders)} {lead} with {standing.shown} {standing.metric} ×100 ({tasks}, {seeds})"
    if higher := standing.overtaken:
        own = "has a higher mean over its own" if len(higher) == 1 else "have higher means over their own"
        text += f"; {in_words(higher)} {own} seeds, not over those that both have"
    if standing.behind:
        nearest = standing.behind[0]
        more = len(standing.behind) - 1
        rest = f", and than {more} other{'s' * (more > 1)}" if more else ""
        text += f"; better than {nearest} by {standing.lead_over(nearest)} points{rest}"
    if tied := _others(standing, standing.tied):
        text += f"; not distinguishable from {in_words(tied)}"
    for shared, why in ((0, "no seed that both have"), (1, "no interval with one seed")):
        if names := _others(standing, standing.without_interval(shared)):
            text += f"; cannot be told from {in_words(names)} ({why})"
    return text + "."


def _others(standing: Standing, names: Sequence[str]) -> list[str]:
    """Those of some methods that do not lead together with the leader."""
    return [name for name in names if name not in standing.leaders]


def _on_dev(view: View, setting: Setting) -> Iterator[Block]:
    """Say which scores are of a split that methods may have been chosen on."""
    splits = pick(view.counted, setting)[["task", "split"]].drop_duplicates().astype(str)
    for split in sorted(set(splits["split"]) - {"test"}):
        tasks = sorted(splits.loc[splits["split"] == split, "task"])
        what = "Every task" if len(tasks) == splits["task"].nunique() else in_words(tasks)
        yield Prose(
            f"{what} {'is' if len(tasks) == 1 or what == 'Every task' else 'are'} scored on {split}, not on test.",
            setting=setting,
        )


def _not_alike(view: View, setting: Setting) -> Iterator[Block]:
    """What was not trained alike: a difference between such methods is one of their training too."""
    settings = unlike(view, setting)
    if len(settings):
        differing = in_words(list(settings.columns[1:]))
        text = f"Take care: the methods were not trained alike. They differ in {differing}; the table under Training has each."
        yield Prose(text, setting=setting)
    for sentence in mixed(view, setting):
        yield Prose(f"Take care: {sentence}", setting=setting)


def _picker(dims: Sequence[int], first: int) -> Markup:
    options = Markup("").join(
        Markup('<label><input type="radio" name="width" value="{0}"{1}><span>{0}</span></label>').format(
            dim, Markup(" checked") if dim == first else ""
        )
        for dim in dims
    )
    return Markup('<fieldset class="widths" hidden><legend>Width (dims)</legend>{}</fieldset>').format(options)


def _card(view: View, setting: Setting, dim: int) -> Markup:
    say, sure, lines = sentences(view, setting, dim)
    items = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    power = _power(standings(view, setting, dim))
    where = f"{setting.title}, layer {depth_scored(view, setting)}, float32 vectors"
    if any(standing.seeds > 1 for standing in standings(view, setting, dim)):
        where += "; ± and brackets are 95 % intervals over seeds"
    return Markup(
        '<div class="verdict" data-width="{}"><p class="say">{}</p>{}<ul>{}</ul><p class="note">{}.{}</p></div>'
    ).format(dim, say, Markup('<p class="sure">{}</p>').format(sure) if sure else "", items, where, power)


def _tables(view: View, setting: Setting, dims: Sequence[int]) -> Iterator[Block]:
    """All widths in one table, a line each; and for each family the leader, and whom it cannot be told from."""
    lines, details, compared = [], [], set[str]()
    for dim in dims:
        found = standings(view, setting, dim)
        if not found:
            continue
        best = recommended(view, found)
        leads = {standing.family: f"{', '.join(standing.leaders)} {standing.shown}" for standing in found}
        lines.append({"dim": dim, "method": best, "sure": how_sure(view, setting, found, best)[0], **leads})
        details += [_detail(dim, standing) for standing in found]
        compared |= _compared(found)
    if len(compared) < 2:
        return
    families = [Column(family, f"leads on {family}") for family in view.families(setting)]
    columns = (Column("dim", "dim", "integer"), Column("method", "use"), Column("sure", "how sure", "words"), *families)
    title = f"Which method at which width: {setting.title}"
    yield Shown(Table(f"verdict--{setting.slug}", title, pd.DataFrame(lines), columns), setting=setting)
    columns = (
        Column("dim", "dim", "integer"),
        Column("family", "family"),
        Column("method", "leads"),
        Column("shown", "score ×100"),
        Column("seeds", "seeds", "integer"),
        Column("unsure", "cannot be told from it", "words"),
        Column("behind", "behind it", "words"),
    )
    note = (
        "Behind: the paired difference over seeds is a difference after Holm's correction for all methods in the row. "
        "That the leader is chosen by the same scores is not corrected for: of many equal methods, one is called behind "
        "more often than 5 % of the time."
    )
    title = f"Who leads and who is behind: {setting.title}"
    frame = pd.DataFrame(details)
    yield Shown(Table(f"standings--{setting.slug}", title, frame, columns, note), open=False, setting=setting)


def _detail(dim: int, standing: Standing) -> dict[str, object]:
    unsure = ", ".join((*standing.tied, *standing.unknown)) or "none"
    words = {"shown": standing.shown, "unsure": unsure, "behind": ", ".join(standing.behind) or "none"}
    return {"dim": dim, "family": standing.family, "method": standing.leader, "seeds": standing.seeds, **words}


def _in_words(view: View) -> Iterator[Block]:
    """What the first screen says, for readers of the Markdown and for screens without scripts: one width per setting."""
    lines = []
    for setting in view.settings:
        if not (dims := _dims(view, setting)):
            continue
        say, sure, found = sentences(view, setting, small_dim(dims))
        where = f"{setting.title}. " if len(view.settings) > 1 else ""
        lines += [f"{where}{say} {sure}".strip(), *found]
    yield Words(tuple(lines))
