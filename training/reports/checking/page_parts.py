"""What every page of a check has in common: its style, and the script that sorts tables."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --raised: #f4f5f7; --text: #14181f; --quiet: #4b5563;
  --line: #c3c9d2; --accent: #1d4ed8; --problem: #b42318; --warning: #8a5a00; --note: #1d4ed8 }
@media (prefers-color-scheme: dark) { :root { --ground: #10141a; --raised: #1a2029; --text: #eef1f5;
  --quiet: #aab4c2; --line: #3d4757; --accent: #8fb2ff; --problem: #ffa198; --warning: #f0c060; --note: #8fb2ff } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: var(--text);
  background: var(--ground); overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: .5rem 0 }
h2 { font-size: 1.2rem; margin: 0 0 .25rem }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.verdict { font-size: 1.15rem }
.quiet { color: var(--quiet); margin: .25rem 0 }
.contents { list-style: none; padding: 0 }
.contents li { margin: .35rem 0 }
section { margin: 1.5rem 0; padding: 1rem; background: var(--raised); border-left: 4px solid var(--line) }
section.problem { border-color: var(--problem) }
section.warning { border-color: var(--warning) }
section.note { border-color: var(--note) }
.severity { font-weight: 700; margin-right: .4rem }
.problem > .severity, .problem h2 .severity { color: var(--problem) }
.warning > .severity, .warning h2 .severity { color: var(--warning) }
.note > .severity, .note h2 .severity { color: var(--note) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { vertical-align: middle }
td.number { text-align: right; font-variant-numeric: tabular-nums }
th button { font: inherit; font-weight: 700; color: inherit; background: none; border: 0; padding: .35rem 0;
  min-height: 2rem; cursor: pointer }
th button::after { content: " \\2195"; color: var(--quiet) }
th[aria-sort=ascending] button::after { content: " \\2191" }
th[aria-sort=descending] button::after { content: " \\2193" }
.pictures { display: flex; flex-wrap: wrap; gap: .35rem }
img { display: block; width: 96px; height: 96px; border-radius: .25rem; background: var(--line) }
code { font-size: .9em }
@media (max-width: 40rem) {
  thead { display: none }
  tr, td { display: block; border: 0; padding: .1rem 0 }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0 }
  td.number { text-align: left }
}
@media print {
  :root { --ground: #fff; --raised: #fff; --text: #000; --quiet: #333; --line: #999; --accent: #000 }
  body { max-width: none; padding: 0; font-size: 11pt }
  tr, img { break-inside: avoid }
  th button::after { content: "" !important }
}
"""

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? -1 : 1) * compare(a, b));
      table.tBodies[0].append(...rows);
    });
  });
}
"""
