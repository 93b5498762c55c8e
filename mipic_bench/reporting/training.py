"""Training: settings in which methods differ, what the terms did, and what it cost."""

from collections.abc import Iterator

from mipic_bench.analysis.alike import unlike
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.figures.training_cost import training_costs
from mipic_bench.reporting import Block, Drawn, Material, Section, Shown


class Training(Section):
    """Unlike settings, terms over training, and cost per method."""

    title = "Training"
    order = 80

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: what was not trained alike, both figures, then a line per run."""
        for setting in material.view.settings:
            settings = unlike(material.view, setting)
            if len(settings):
                columns = (Column("method", "method"), *(Column(key, key, "words") for key in settings.columns[1:]))
                note = "A comparison of these methods is one of their training settings too."
                title = f"Training settings in which methods differ: {setting.title}"
                yield Shown(Table(f"settings--{setting.slug}", title, settings, columns, note), setting=setting)
            yield Drawn("training_terms", setting=setting)
            yield Drawn("training_cost", setting=setting)
            costs = training_costs(material.view, setting)
            if len(costs):
                memory = Column("memory_mb", "peak memory, MB", "integer")  # older runs did not measure it
                columns = (
                    Column("method", "method"),
                    Column("seed", "seed"),
                    Column("steps", "steps", "integer"),
                    Column("seconds", "seconds", "number"),
                    Column("ms_per_step", "ms per step", "number"),
                    Column("pairs_per_second", "pairs per second", "number"),
                    *((memory,) if costs[memory.key].notna().any() else ()),
                )
                title = f"Cost of every run: {setting.title}"
                yield Shown(Table(f"training--{setting.slug}", title, costs, columns), open=False, setting=setting)
