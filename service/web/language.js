// Which language the page speaks, and how it writes numbers.

import { TEXTS } from "./texts.js";
import { kept, keep } from "./session.js";

const browsers = navigator.languages ?? [navigator.language];
const known = (tag) => Object.keys(TEXTS).find((code) => tag?.toLowerCase().split("-")[0] === code);
const asked = new URLSearchParams(location.search).get("lang");

export let language = known(asked) ?? known(kept("language")) ?? browsers.map(known).find(Boolean) ?? "en";

/** The tag for numbers: the browser's own, which has a country, where it is of the language. */
const locale = () => browsers.find((tag) => known(tag) === language) ?? language;

/** A text by its key, with {names} filled in. English stands in for what is not translated. */
export function t(key, values = {}) {
  const text = TEXTS[language][key] ?? TEXTS.en[key] ?? "";
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

const formats = new Map(); // to make one takes longer than to use it

export function number(value, options) {
  const name = locale() + JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat(locale(), options));
  return formats.get(name).format(value);
}

export const percent = (share, digits = 1) =>
  number(share, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
export const list = (words) => new Intl.ListFormat(locale(), { type: "conjunction" }).format(words);
export const milliseconds = (ms) => `${number(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms`;

export function bytes(count) {
  const [unit, size] = count < 1e6 ? ["kilobyte", count / 1e3] : ["megabyte", count / 1e6];
  return number(size, { style: "unit", unit, maximumFractionDigits: size < 10 ? 1 : 0 });
}

/** Write the texts that stand in the page itself. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}

export function speak(code) {
  language = code;
  keep("language", code);
  translate();
}
