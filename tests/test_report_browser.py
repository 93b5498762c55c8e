"""The page in a real browser: nothing leaves it, nothing fails, and sorting, filtering, highlighting and hovering work.

No driver is needed: a script at the page's end does what a reader would, and headless Chromium prints the document.
"""

import html
import json
import re
import shutil
import subprocess

import pytest
import synthetic

from mipic_bench import reporting

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
)
_QUIET += ("--disable-sync", "--no-first-run", "--hide-scrollbars")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    frame = synthetic.rows(corpora=("toy", "wiki"))
    return reporting.build(frame, synthetic.provenance(frame), tmp_path_factory.mktemp("report"), reference="mrl")


def play(page, tmp_path, script, size="1280,2000"):
    """Run a script in the page and return what it puts into `result`, and what the browser says on its console."""
    end = f"""<script>
    const result = {{}};
    window.addEventListener("error", (event) => {{ result.error = event.message; }});
    const $ = (what) => document.querySelector(what), $$ = (what) => Array.from(document.querySelectorAll(what));
    const press = (part, key) => part.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
    {script}
    result.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
    const note = document.createElement("pre");
    note.id = "played";
    note.textContent = JSON.stringify(result);
    document.body.append(note);
    </script></body>"""
    played = page.with_name("played.html")
    played.write_text(page.read_text().replace("</body>", end), encoding="utf-8")
    command = [
        CHROMIUM,
        *_QUIET,
        f"--user-data-dir={tmp_path}/profile",
        f"--window-size={size}",
        "--enable-logging=stderr",
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", played.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="played">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


def test_nothing_is_fetched_and_nothing_fails(page, tmp_path):
    result, console = play(page, tmp_path, "result.title = document.title;")
    assert result["title"].startswith("Report:")
    assert "error" not in result and console == []
    assert [name for name in result["fetched"] if not name.startswith("data:")] == []


def test_a_heading_sorts_its_table_and_says_so(page, tmp_path):
    script = """
    const table = $("#t-quality--minilm--toy"), heads = Array.from(table.tHead.rows[0].cells);
    const place = heads.findIndex((head) => head.textContent.startsWith("mean"));
    const values = () => Array.from(table.tBodies[0].rows).map((row) => Number(row.cells[place].dataset.v));
    const button = heads[place].querySelector("button");
    result.before = heads[place].getAttribute("aria-sort");
    button.click(); result.down = values(); result.first = heads[place].getAttribute("aria-sort");
    button.click(); result.up = values(); result.second = heads[place].getAttribute("aria-sort");
    heads[2].querySelector("button").click();
    result.names = Array.from(table.tBodies[0].rows).map((row) => row.cells[2].textContent);
    result.after = heads[place].getAttribute("aria-sort");
    """
    result, _ = play(page, tmp_path, script)
    assert (result["before"], result["first"], result["second"], result["after"]) == (
        "none",
        "descending",
        "ascending",
        "none",
    )
    assert result["down"] == sorted(result["down"], reverse=True) and result["up"] == sorted(result["up"])
    assert result["names"] == sorted(result["names"])


def test_the_filter_shows_the_rows_with_all_words(page, tmp_path):
    script = """
    const input = $('input[data-table="t-quality--minilm--toy"]'), rows = $("#t-quality--minilm--toy").tBodies[0].rows;
    input.value = "MRL sts"; input.dispatchEvent(new Event("input"));
    result.shown = Array.from(rows).filter((row) => !row.hidden).map((row) => row.textContent);
    result.count = $("#t-quality--minilm--toy-count").textContent;
    """
    result, _ = play(page, tmp_path, script)
    assert len(result["shown"]) == 14 and all("mrl" in text and "sts" in text for text in result["shown"])
    assert result["count"] == "14 of 147 rows"


def test_a_method_is_highlighted_everywhere(page, tmp_path):
    script = """
    const chooser = $("#highlight");
    chooser.value = "mipic"; chooser.dispatchEvent(new Event("change"));
    const faint = (part) => part.classList.contains("faint");
    result.others = $$('svg [data-method="mrl"]').map(faint);
    result.own = $$('svg [data-method="mipic"]').map(faint);
    result.figures = new Set($$('svg [data-method="mrl"]').map((part) => part.closest("svg"))).size;
    result.rows = $$('tr[data-method="mipic"]').every((row) => row.classList.contains("chosen"));
    result.pressed = $$('.legend button[aria-pressed="true"]').map((button) => button.value);
    press(document.body, "Escape");
    result.left = $$(".faint").length + $$("tr.chosen").length;
    $('.legend button[value="mrl"]').click();
    result.clicked = chooser.value;
    """
    result, _ = play(page, tmp_path, script)
    assert result["figures"] > 6
    assert result["others"] and all(result["others"]) and result["own"] and not any(result["own"])
    assert result["rows"] and set(result["pressed"]) == {"mipic"}
    assert result["left"] == 0 and result["clicked"] == "mrl"


def test_a_point_tells_value_interval_and_seeds_to_mouse_and_keyboard(page, tmp_path):
    script = """
    const chart = $(".chart"), hit = chart.querySelector('[data-method="mipic"] .hit'), box = hit.getBoundingClientRect();
    chart.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: box.left + 5, clientY: box.top + 5 }));
    result.hovered = $("#tip").textContent; result.shown = !$("#tip").hidden;
    const over = $("#tip").getBoundingClientRect();
    result.inside = over.left >= 0 && over.right <= innerWidth;
    press(chart, "ArrowRight"); result.right = $("#tip").textContent;
    press(chart, "ArrowDown"); result.down = $("#tip").textContent;
    press(document.body, "Escape"); result.hidden = $("#tip").hidden;
    $("td[data-tip]").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    result.cell = $("#tip").textContent;
    result.focusable = chart.tabIndex;
    result.live = $("#tip").getAttribute("aria-live");
    """
    result, _ = play(page, tmp_path, script)
    assert re.search(r"[\w-]+ · dim \d+\n[\d.]+ ± [\d.]+\n3 seeds, 95 % interval", result["hovered"])
    assert result["shown"] and result["inside"] and result["hidden"]
    assert "dim 16" in result["right"] and result["down"].split(" ")[0] != result["right"].split(" ")[0]
    assert result["cell"].startswith("layer 1, dim 8\n")
    assert result["focusable"] == 0 and result["live"] == "polite"


def test_the_width_and_the_setting_of_the_verdict_can_be_chosen(page, tmp_path):
    script = """
    const shown = () => $$(".verdict").filter((card) => card.offsetParent).map((card) => card.querySelector(".say").textContent);
    result.first = shown();
    const width = $('input[name=width][value="384"]'); width.checked = true; width.dispatchEvent(new Event("change"));
    result.wide = shown();
    const setting = $("#setting"); setting.value = ""; setting.dispatchEvent(new Event("change"));
    result.all = shown();
    result.settings = Array.from(setting.options).map((option) => option.value);
    """
    result, _ = play(page, tmp_path, script)
    assert len(result["first"]) == 1 and result["first"][0].startswith("At 32 dims")
    assert len(result["wide"]) == 1 and result["wide"][0].startswith("At 384 dims")
    assert len(result["all"]) == 2
    assert result["settings"] == ["minilm--toy", "minilm--wiki", ""]


def test_light_and_dark(page, tmp_path):
    script = """
    const color = () => getComputedStyle(document.body).backgroundColor;
    result.light = color(); $("#theme").click(); result.dark = color(); $("#theme").click(); result.again = color();
    """
    result, _ = play(page, tmp_path, script)
    assert result["light"] == result["again"] == "rgb(255, 255, 255)" and result["dark"] == "rgb(20, 23, 28)"


@pytest.mark.parametrize("size", ["1280,2000", "390,2000"])
def test_no_part_is_wider_than_the_screen(page, tmp_path, size):
    script = """
    result.wide = document.documentElement.scrollWidth; result.screen = document.documentElement.clientWidth;
    result.first = $(".verdict:not([hidden])").getBoundingClientRect().bottom;
    """
    result, _ = play(page, tmp_path, script, size)
    assert result["wide"] <= result["screen"]
    assert result["first"] < 900  # the verdict stands on the first screen


def test_the_page_says_all_without_scripts(page):
    text = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)
    assert text.count('class="verdict"') == 14
    assert not re.search(r'<div class="verdict"[^>]* hidden', text)
