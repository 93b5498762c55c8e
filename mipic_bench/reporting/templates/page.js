"use strict";
// Sorting, filtering, highlighting and hovering of the report. The page is complete without it.
(() => {
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  const root = document.documentElement;

  // ---- theme: follows the system until the button is pressed
  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  // ---- one method highlighted in every figure and table
  const chooser = document.getElementById("highlight");
  function highlight(method) {
    chooser.value = method;
    for (const part of all(document, "[data-method]")) {
      const own = part.dataset.method === method;
      if (part.matches("tr, .heats")) part.classList.toggle("chosen", method !== "" && own);
      else part.classList.toggle("faint", method !== "" && !own);
    }
    for (const button of all(document, ".legend button")) button.setAttribute("aria-pressed", String(button.value === method && method !== ""));
  }
  chooser.addEventListener("change", () => highlight(chooser.value));
  if (document.body.dataset.highlight) highlight(document.body.dataset.highlight);
  for (const button of all(document, ".legend button"))
    button.addEventListener("click", () => highlight(chooser.value === button.value ? "" : button.value));

  // ---- one setting (backbone, corpus, protocol) at a time, where there are several
  const setting = document.getElementById("setting");
  const choose = () => { for (const part of all(document, "[data-setting]")) part.hidden = setting.value !== "" && part.dataset.setting !== setting.value; };
  if (setting) { setting.addEventListener("change", choose); setting.closest("label").hidden = false; choose(); }

  // ---- the width the verdict speaks of
  const widths = all(document, "input[name=width]");
  const show = (value) => { for (const part of all(document, "[data-width]")) part.hidden = part.dataset.width !== value; };
  for (const input of widths) input.addEventListener("change", () => show(input.value));
  const first = widths.find((input) => input.checked);
  if (first) { first.closest("fieldset").hidden = false; show(first.value); }

  // ---- tables: sort by a heading, filter by text
  const value = (row, place) => { const cell = row.cells[place]; return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v || NaN); };
  function compare(a, b) {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return a - b;
  }
  function sort(table, place, down) {
    const body = table.tBodies[0];
    const gap = (row) => Number.isNaN(value(row, place));
    const rows = Array.from(body.rows).map((row, order) => ({ row, order }));
    rows.sort((one, two) => {
      const gaps = gap(one.row) - gap(two.row); // missing values stay at the end, whichever way
      return gaps || (down ? -1 : 1) * compare(value(one.row, place), value(two.row, place)) || one.order - two.order;
    });
    body.append(...rows.map((item) => item.row));
    all(table, "thead th").forEach((head, at) => head.setAttribute("aria-sort", at === place ? (down ? "descending" : "ascending") : "none"));
  }
  for (const table of all(document, "table.data")) {
    all(table, "thead th").forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(table, place, now === "none" ? head.classList.contains("num") : now === "ascending");
      });
    });
  }
  for (const input of all(document, "input[type=search]")) {
    const table = document.getElementById(input.dataset.table), count = document.getElementById(input.dataset.table + "-count");
    input.closest(".tools").querySelector("label").hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
    });
  }

  // ---- what lies under the pointer, or where the arrow keys are
  const tip = document.getElementById("tip");
  function tell(part) {
    tip.textContent = part.dataset.tip;
    tip.hidden = false;
    const box = part.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(4, box.left + box.width / 2 - own.width / 2), root.clientWidth - own.width - 4);
    const above = box.top - own.height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 4 ? above : box.bottom + 8) + scrollY}px`;
  }
  const hush = () => { tip.hidden = true; all(document, ".pt.on").forEach((point) => point.classList.remove("on")); };
  const mark = (part) => { hush(); tell(part); part.parentNode.querySelector(".pt")?.classList.add("on"); };
  document.addEventListener("pointerover", (event) => {
    const part = event.target.closest?.("[data-tip]:not(.hit)");
    if (part) mark(part); else if (!tip.hidden && !event.target.closest?.(".chart")) hush();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hush(); highlight(""); } });
  for (const chart of all(document, ".chart")) {
    // Left and right go from width to width, up and down from method to method; the tip is a live region.
    const curves = all(chart, "g.method").map((curve) => all(curve, ".hit"));
    let line = 0, at = 0;
    chart.addEventListener("pointermove", (event) => {
      // the nearest point: curves lie close, and a small target is hard to hit
      let best = null, least = 40 ** 2;
      for (const hit of curves.flat()) {
        const box = hit.getBoundingClientRect();
        const away = (box.left + box.width / 2 - event.clientX) ** 2 + (box.top + box.height / 2 - event.clientY) ** 2;
        if (away < least) { least = away; best = hit; }
      }
      if (best) mark(best); else hush();
    });
    chart.addEventListener("pointerleave", hush);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step || !curves.length) return;
      event.preventDefault();
      line = (line + step[0] + curves.length) % curves.length;
      at = Math.min(Math.max(at + step[1], 0), curves[line].length - 1);
      mark(curves[line][at]);
    });
    chart.addEventListener("blur", hush);
  }
})();
