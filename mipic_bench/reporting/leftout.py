"""What was left out of the numbers, and why."""

from collections.abc import Iterator

from mipic_bench.reporting import Block, Bullets, Material, Prose, Section


class LeftOut(Section):
    """Missing cells, unequal seeds, older runs."""

    title = "Left out"
    order = 140

    def blocks(self, material: Material) -> Iterator[Block]:
        """One sentence per gap."""
        notes = tuple(dict.fromkeys(material.view.notes))
        if notes:
            yield Prose(
                "Nothing below is averaged into a number of this report; methods are compared on what both have."
            )
            yield Bullets(notes)
        else:
            yield Prose("Nothing: every method has every task at every seed and budget that others have.")
