// The models of the server: in words, and which one suits photos.

import { list, number, percent, t } from "./language.js";
import { ask } from "./server.js";

const FEW_LABELS = 10; // so many are listed by name
const MOST_ASKED = 24; // models whose cards are read at the start

const cards = new Map(); // by name, or name and version

export const pathOf = (name, version) => `v1/models/${name}${version ? `/versions/${version}` : ""}`;

/** What the server says of a model, or of one of its versions. */
export async function describe(name, version) {
  const path = pathOf(name, version);
  if (!cards.has(path)) cards.set(path, await (await ask(path)).json());
  return cards.get(path);
}

/** Read the cards of listed models anew. */
export async function readCards(names) {
  cards.clear();
  await Promise.allSettled(names.slice(0, MOST_ASKED).map((name) => describe(name)));
}

/** The model for a picture of which nothing is known: in colour, and with the most pixels. */
export function suitsPhotos(names) {
  const pixels = (name) => {
    const input = cards.get(pathOf(name))?.input;
    return input && input.channels === 3 ? input.height * input.width : 0;
  };
  return names.reduce((best, name) => (pixels(name) > pixels(best) ? name : best), names[0]);
}

/** The longest side of a network's input in pixels, where its card is known. */
export const sideOf = (name, version) => {
  const input = (cards.get(pathOf(name, version)) ?? cards.get(pathOf(name)))?.input;
  return input ? Math.max(input.height, input.width) : null;
};

export function titleOf(name) {
  const words = name.replace(/[-_]+/g, " ");
  return t(`model:${name}`) || words[0].toUpperCase() + words.slice(1);
}

/** What it tells apart, and how well; "" for a version that is not served. */
export function inWords(about) {
  if (!about.labels) return about.reason ?? "";
  const { labels, metrics } = about;
  const some = list(labels.slice(0, FEW_LABELS));
  const classes = labels.length > FEW_LABELS ? t("manyClasses", { count: number(labels.length), some: labels.slice(0, 3).join(", ") }) : some;
  const held = metrics.test ?? metrics.validation;
  if (!held) return t("tellsApart", { classes });
  const [from, to] = held.interval ?? wilson(held.accuracy, held.images);
  const right = number(Math.round(held.accuracy * held.images));
  const range = `${percent(from)}–${percent(to)}`;
  return `${t("tellsApart", { classes })} ${t("rightOn", { right, images: number(held.images), range })}`;
}

/** The 95 % interval of a share. */
function wilson(share, count) {
  const z2 = 1.96 ** 2;
  const middle = (share + z2 / (2 * count)) / (1 + z2 / count);
  const half = (1.96 / (1 + z2 / count)) * Math.sqrt((share * (1 - share)) / count + z2 / (4 * count ** 2));
  return [middle - half, middle + half];
}
