// The page: what was chosen goes to the server a few at a time, and comes back to its card.

import * as camera from "./camera.js";
import { Card, UNSURE_BELOW, explain } from "./card.js";
import { language, number, percent, speak, t, translate } from "./language.js";
import { describe, inWords, pathOf, readCards, sideOf, suitsPhotos, titleOf } from "./models.js";
import { filesOf, isPicture, kindOf, shrunk } from "./pictures.js";
import * as results from "./results.js";
import { Problem, ask, key, pause, persist, setKey, upload } from "./server.js";
import { LANGUAGES, copy, snippet } from "./snippets.js";
import { TEXTS } from "./texts.js";

const AT_ONCE = 4; // requests in flight: enough to fill a batch, too few to fill the queue
const ASK_AGAIN_S = 2; // while the server is away or loads its models
const USUAL_SIDE = 224; // pixels, where a network's own are not known
const SAMPLES = ["cat", "ship", "airplane", "automobile", "stripes"];
const FOR_ALL = "stripes"; // a sample that no model knows
const HOPELESS = new Set(["text", "pdf", "video", "empty"]); // kinds of files that are not even sent

const $ = (id) => document.getElementById(id);

let waiting = [];
let running = 0;
let [done, all] = [0, 0]; // of the pictures since nothing was left to do
let stopping = new AbortController();
let listed = { models: [], ready: false };
let state = "loading";
let following = false;
let program = LANGUAGES[0];
let count = 0;

const chosen = () => ({ model: $("model").value, version: Number($("version").value) || null });
const inUse = (name) => listed.models.find(({ model }) => model === name)?.version;

function announce(text) {
  $("news").textContent = text;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// --- Pictures to answers

/** The stages of a Server-Timing header: [name, milliseconds]. */
function stages(header) {
  return (header ?? "")
    .split(",")
    .map((part) => [part.split(";")[0].trim(), Number(/;\s*dur=([\d.]+)/.exec(part)?.[1])])
    .filter(([name, duration]) => name && Number.isFinite(duration));
}

async function send(path, image, options) {
  const began = performance.now();
  const { body, header } = await upload(`${path}/predict`, image, options);
  return { answer: body, timing: { total: performance.now() - began, stages: stages(header("Server-Timing")) } };
}

async function prepare(card) {
  card.kind = await kindOf(card.file).catch(() => "empty"); // a folder cannot be read
  if (HOPELESS.has(card.kind)) throw new Problem("not-an-image");
  const side = sideOf(card.model, card.version) ?? USUAL_SIDE;
  card.sentFile = $("shrink").checked ? await shrunk(card.file, side) : card.file;
  if (card.sentFile !== card.file) card.show(card.sentFile);
}

async function classify(card, signal) {
  try {
    await prepare(card);
    const attempt = () => {
      card.set({ state: "sending", share: 0, problem: null });
      return send(pathOf(card.model, card.version), card.sentFile, { signal, progress: (share) => card.set({ share }) });
    };
    const found = await persist(attempt, { signal, waiting: (problem) => card.set({ state: "waiting", problem }) });
    card.set({ state: "answered", problem: null, ...found });
    const { label, probability } = card.best;
    const answer = `${label}, ${percent(probability)}`;
    announce(`${card.name}: ${found.answer.familiar === false ? t("guesses", { answer }) : answer}`);
    if ($("heat").checked) await card.showHeat();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    card.set({ state: "failed", problem });
    announce(`${card.name}: ${explain(problem, card.kind)}`);
  }
}

/** Have cards answered in the order they came, a few at a time. */
function queue(cards) {
  for (const card of cards) {
    card.hideHeat();
    card.set({ ...chosen(), expected: chosen().version ?? inUse(chosen().model), state: "waiting", answer: null, problem: null });
  }
  waiting.push(...cards);
  all += cards.length;
  work();
}

function work() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    classify(waiting.shift(), stopping.signal).finally(() => {
      running -= 1;
      done += 1;
      work();
    });
  }
  if (!running) [done, all] = [0, 0];
  $("working").hidden = all < 1;
  $("progress").max = Math.max(all, 1);
  $("progress").value = done;
  $("done").textContent = t("progress", { done: number(done), all: number(all) });
  offerAgain();
  results.changed();
}

function take(files) {
  notice("");
  const cards = files.map((file) => new Card(file, file.name || t("pasted"), (count += 1)));
  for (const card of cards) {
    card.part(".retry").addEventListener("click", () => queue([card]));
    results.add(card);
  }
  queue(cards);
}

function cancel() {
  stopping.abort();
  stopping = new AbortController();
  for (const card of waiting) card.set({ state: "failed", problem: new Problem("cancelled") });
  done += waiting.length;
  waiting = [];
  work();
  announce(t("cancelled"));
}

function clear() {
  cancel();
  results.clear();
  announce(t("removed"));
  $("files").focus();
}

const others = () => {
  const { model, version } = chosen();
  const wanted = version ?? inUse(model);
  const differs = (card) => card.model !== model || (card.answer?.version ?? card.expected) !== wanted;
  return results.cards.filter((card) => ["answered", "failed"].includes(card.state) && differs(card));
};

/** Where results are by another model than the one that is chosen now: offer to ask this one. */
function offerAgain() {
  const found = others();
  const [text, button] = $("again").children;
  $("again").hidden = !found.length;
  text.textContent = t("otherModel", { count: number(found.length) });
  button.textContent = t("askAgain", { model: titleOf(chosen().model || " ") });
}

// --- The server and its models

function showState(name) {
  state = name;
  $("state").textContent = t(name);
  $("state").dataset.state = name;
}

/** Ask what the server has until it is ready, and again whenever it was away. */
async function follow() {
  if (following) return;
  following = true;
  for (;;) {
    try {
      listed = await (await ask("v1/models")).json();
      await showModels();
      showState(listed.ready ? "ready" : listed.models.length || state !== "ready" ? "notReady" : "noModels");
      if (listed.ready) break;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.code === "unauthorized") break;
      showState(problem.code === "unreachable" ? "away" : "notReady");
      if (!problem.isAway && !problem.retryAfterS) {
        $("state").textContent = explain(problem, "");
        break;
      }
    }
    await pause(ASK_AGAIN_S);
  }
  following = false;
}

async function showModels() {
  const names = listed.models.map(({ model }) => model);
  const before = $("model").value;
  await readCards(names);
  $("model").replaceChildren(...names.map((name) => new Option(titleOf(name), name)));
  $("model").value = names.includes(before) ? before : (suitsPhotos(names) ?? "");
  $("model").disabled = !names.length;
  await showVersions();
}

async function showVersions() {
  const { model, version } = chosen();
  const entry = listed.models.find((one) => one.model === model);
  const older = (entry?.versions ?? []).map((one) => new Option(one, one)).reverse();
  $("version").replaceChildren(...(entry ? [new Option(t("inUse", { version: entry.version }), ""), ...older] : []));
  $("version").value = entry?.versions.includes(version) ? version : "";
  $("version").disabled = !entry;
  await showModel();
}

async function showModel() {
  const { model, version } = chosen();
  showProgram();
  offerAgain();
  if (!model) return;
  try {
    const about = await describe(model, version);
    if ($("model").value !== model) return; // another was chosen meanwhile
    $("about").textContent = inWords(about);
    showSamples(about.labels ?? []);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    $("about").textContent = explain(problem, "");
  }
}

function showSamples(labels) {
  const fitting = SAMPLES.filter((name) => name === FOR_ALL || labels.includes(name));
  document.querySelector(".samples").replaceChildren(
    ...fitting.map((name) => {
      const [item, button, picture] = ["li", "button", "img"].map((tag) => document.createElement(tag));
      picture.src = `web/samples/${name}.jpg`;
      picture.alt = "";
      button.type = "button";
      button.append(picture, t(`sample:${name}`));
      button.addEventListener("click", async () => {
        const image = await (await ask(`web/samples/${name}.jpg`)).blob();
        take([new File([image], `${name}.jpg`, { type: "image/jpeg" })]);
      });
      item.append(button);
      return item;
    }),
  );
  $("samples").hidden = false;
}

function showProgram() {
  const { model, version } = chosen();
  $("program").hidden = !model;
  $("snippets").replaceChildren(
    ...LANGUAGES.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("aria-pressed", String(name === program));
      button.addEventListener("click", () => {
        program = name;
        showProgram();
        $("snippets").children[LANGUAGES.indexOf(name)].focus();
      });
      return button;
    }),
  );
  $("curl").textContent = snippet(program, pathOf(model, version), "picture.jpg");
}

// --- The key

function showKeyForm() {
  $("key-form").hidden = false;
  $("controls").hidden = true;
  $("state").textContent = "";
  if (key()) $("key-fault").textContent = t("keyWrong");
  setKey("");
  $("key").focus();
}

async function useKey() {
  setKey($("key").value.trim());
  try {
    await ask("v1/models");
  } catch (problem) {
    if (problem.code !== "unauthorized") $("key-fault").textContent = explain(problem, "");
    return;
  }
  $("key").value = $("key-fault").textContent = "";
  start();
  queue(results.cards.filter((card) => card.problem?.code === "unauthorized"));
}

function start() {
  $("key-form").hidden = true;
  $("controls").hidden = false;
  $("key-forget").hidden = !key();
  follow();
}

// --- What a person does

async function toggleCamera() {
  notice("");
  if (camera.isOn()) camera.stop();
  else
    notice(
      await camera.start(async (image) => {
        const { model, version } = chosen();
        const { answer, timing } = await send(pathOf(model, version), image, {});
        return { ...answer, total: timing.total };
      }),
    );
}

async function toggleHeat() {
  for (const card of [...results.cards]) {
    if (!$("heat").checked) card.hideHeat();
    else await card.showHeat();
  }
}

async function receive(transfer) {
  const link = /^\s*https?:\/\/\S+\s*$/.test(transfer.getData("text/uri-list") || transfer.getData("text/plain"));
  const files = await filesOf(transfer);
  if (files.length) take(files);
  else if (link) notice(t("link"));
}

function redraw() {
  showState(state);
  $("sort").replaceChildren(...["chosen", "sure", "unsure", "label", "name"].map((name) => new Option(t(`sort:${name}`), name)));
  $("guide-steps").textContent = t("guideSteps", { unsure: percent(UNSURE_BELOW, 0) });
  for (const option of $("model").options) option.text = titleOf(option.value);
  for (const card of results.cards) card.draw();
  camera.draw();
  work();
  showVersions();
}

function listen() {
  const on = (id, event, action) => $(id).addEventListener(event, action);
  on("controls", "submit", (event) => event.preventDefault());
  on("key-form", "submit", (event) => {
    event.preventDefault();
    useKey();
  });
  on("key-forget", "click", () => {
    setKey("");
    follow();
  });
  on("language", "change", () => {
    speak($("language").value);
    redraw();
  });
  on("model", "change", () => {
    $("version").value = "";
    showVersions();
  });
  on("version", "change", showModel);
  on("camera", "click", toggleCamera);
  on("heat", "change", toggleHeat);
  on("cancel", "click", cancel);
  on("clear", "click", clear);
  on("sort", "change", results.arrange);
  on("csv", "click", results.saveCsv);
  on("json", "click", results.saveJson);
  on("retry-all", "click", () => queue(results.cards.filter((card) => card.state === "failed")));
  $("again").lastElementChild.addEventListener("click", () => queue(others()));
  on("copy", "click", async () => {
    await copy($("curl").textContent);
    announce(t("copied"));
  });
  on("files", "change", (event) => {
    take([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  on("folder", "change", (event) => {
    const files = [...event.target.files];
    const taken = files.filter(isPicture);
    event.target.value = "";
    take(taken);
    if (taken.length < files.length) notice(t("folderTaken", { taken: number(taken.length), all: number(files.length) }));
  });
  document.addEventListener("problem", ({ detail }) => {
    if (detail.code === "unauthorized") showKeyForm();
    else if (detail.isAway) {
      showState(detail.code === "unreachable" ? "away" : "notReady");
      follow();
    }
  });
  document.addEventListener("paste", (event) => {
    if (event.target.tagName !== "INPUT" || event.clipboardData.files.length) receive(event.clipboardData);
  });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    receive(event.dataTransfer);
  });
}

for (const [code, { name }] of Object.entries(TEXTS)) $("language").add(new Option(name, code, false, code === language));
translate();
listen();
redraw();
start();
