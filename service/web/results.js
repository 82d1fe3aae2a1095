// All results: counted, filtered, sorted and saved.

import { number, t } from "./language.js";

const $ = (id) => document.getElementById(id);
const SPECIAL = ["unsure", "unfamiliar", "failed"];

const sureness = (card) => card.best?.probability ?? -1;
const ORDERS = {
  chosen: (a, b) => a.number - b.number,
  sure: (a, b) => sureness(b) - sureness(a),
  unsure: (a, b) => sureness(a) - sureness(b),
  label: (a, b) => (a.best?.label ?? "~").localeCompare(b.best?.label ?? "~") || sureness(b) - sureness(a),
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
};

export const cards = [];
let shown = "all";
let drawing = 0;

export function add(card) {
  cards.push(card);
  $("results").append(card.item);
  changed();
}

export function clear() {
  for (const card of cards.splice(0)) card.remove();
  shown = "all";
  changed();
}

/** Draw the summary anew, once for all changes of a frame. */
export function changed() {
  drawing ||= requestAnimationFrame(draw);
}

function draw() {
  drawing = 0;
  const counts = new Map();
  for (const { group } of cards) counts.set(group, (counts.get(group) ?? 0) + 1);
  const labels = [...counts.keys()].filter((group) => group.startsWith("label:")).sort((a, b) => counts.get(b) - counts.get(a));
  const groups = ["all", ...labels, ...SPECIAL.filter((group) => counts.has(group))];
  if (!groups.includes(shown)) shown = "all";
  $("outcome").hidden = cards.length === 0;
  $("counts").replaceChildren(...groups.map((group) => chip(group, counts.get(group) ?? cards.length)));
  $("retry-all").hidden = !counts.has("failed");
  arrange();
}

function chip(group, count) {
  const button = document.createElement("button");
  const name = group.startsWith("label:") ? group.slice(6) : t(group);
  button.type = "button";
  button.id = `count-${group}`;
  button.textContent = `${name} ${number(count)}`;
  button.setAttribute("aria-pressed", String(group === shown));
  button.addEventListener("click", () => {
    shown = group;
    changed();
    requestAnimationFrame(() => document.getElementById(`count-${group}`)?.focus());
  });
  return button;
}

/** Put the cards in order where they are not, and hide those that are filtered out. */
export function arrange() {
  const order = [...cards].sort(ORDERS[$("sort").value] ?? ORDERS.chosen);
  const list = $("results");
  order.forEach(({ item }, at) => list.children[at] !== item && list.insertBefore(item, list.children[at] ?? null));
  for (const card of cards) card.item.hidden = shown !== "all" && card.group !== shown;
}

function rows() {
  return cards.map(({ name, model, version, answer, best, problem }) => ({
    file: name,
    model,
    version: answer?.version ?? version ?? "",
    label: best?.label ?? "",
    probability: best?.probability ?? "",
    familiar: answer?.familiar ?? "",
    familiarity: answer?.familiarity ?? "",
    error: problem ? problem.code : "",
  }));
}

/** A cell of CSV; a program for tables would take one that begins like this for a formula. */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

export function saveCsv() {
  const [first, ...others] = rows();
  const lines = [Object.keys(first), ...[first, ...others].map(Object.values)].map((line) => line.map(cell).join(","));
  save("sightline.csv", "text/csv", `\ufeff${lines.join("\r\n")}\r\n`);
}

export function saveJson() {
  const whole = rows().map((row, at) => ({ ...row, predictions: cards[at].answer?.predictions ?? [] }));
  save("sightline.json", "application/json", JSON.stringify(whole, null, 1));
}

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
