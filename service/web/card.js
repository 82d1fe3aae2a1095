// One result: what is known of a picture, and the card that shows it.

import { bytes, milliseconds, percent, t } from "./language.js";
import { pathOf, titleOf } from "./models.js";
import { ask } from "./server.js";
import { LANGUAGES, copy, snippet } from "./snippets.js";

export const UNSURE_BELOW = 0.6; // as SIGHTLINE_KEEP_SAMPLES_BELOW has it
const SHOWN = 5; // bars of one result; the API gives all classes

const SAME = { unreachable: "away", "not-ready": "notReady", closing: "away", cancelled: "cancelled" }; // texts that are there

const $ = (id) => document.getElementById(id);

/** Bars of the most probable labels, paler where the picture looks unfamiliar. */
export function drawBars(into, { predictions, familiar = true }) {
  into.classList.toggle("guess", !familiar);
  into.replaceChildren(
    ...predictions.slice(0, SHOWN).map(({ label, probability }) => {
      const bar = document.createElement("div");
      const [name, share] = [document.createElement("span"), document.createElement("span")];
      bar.className = "bar";
      name.textContent = label;
      share.textContent = percent(probability);
      bar.style.setProperty("--share", `${100 * probability}%`);
      bar.append(name, share);
      return bar;
    }),
  );
}

/** What to say of a Problem to a person. */
export function explain(problem, kind) {
  if (problem.code === "not-an-image" && kind) return t(`${kind}Problem`);
  const known = t(SAME[problem.code] ?? `problem:${problem.code}`);
  if (known) return known;
  return problem.retryAfterS ? t("problem:busy") : t("problem:other", { detail: problem.detail });
}

/** A picture on its way: `state` is waiting, sending, answered or failed. */
export class Card {
  constructor(file, name, number) {
    Object.assign(this, { file, name, number, state: "waiting", sentFile: null, answer: null, problem: null, kind: "" });
    this.item = $("result").content.firstElementChild.cloneNode(true);
    this.part(".name").textContent = name;
    const menu = this.part(".copies");
    for (const language of LANGUAGES) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = language;
      button.addEventListener("click", async () => {
        await copy(snippet(language, pathOf(this.model, this.version), this.name));
        $("news").textContent = t("copied");
      });
      menu.append(button);
    }
    this.part(".why").addEventListener("click", () => this.showHeat());
    this.show(file);
    this.draw();
  }

  part(selector) {
    return this.item.querySelector(selector);
  }

  get best() {
    return this.answer?.predictions[0];
  }

  /** The group it counts in: its label, or what keeps it from having one. */
  get group() {
    if (this.state === "failed") return "failed";
    if (!this.answer) return "waiting";
    if (this.answer.familiar === false) return "unfamiliar";
    return this.best.probability < UNSURE_BELOW ? "unsure" : `label:${this.best.label}`;
  }

  /** Show a file as the picture; the smaller one that was sent takes less memory. */
  show(file) {
    const picture = this.part("img");
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(file);
    picture.alt = this.name;
    picture.onload = () => {
      this.part(".picture").style.setProperty("--shape", picture.naturalWidth / picture.naturalHeight);
      this.part(".picture").hidden = false;
      this.draw();
    };
    picture.onerror = () => {
      this.part(".picture").hidden = true;
      this.draw();
    };
  }

  set(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  draw() {
    const { answer, problem, state, item } = this;
    item.dataset.state = state;
    for (const element of item.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
    this.part(".by").textContent = this.model ? t("by", { model: titleOf(this.model), version: answer?.version ?? this.expected }) : "";
    this.part(".strange").hidden = !answer || answer.familiar !== false;
    this.part(".bars").hidden = this.part(".after").hidden = !answer;
    if (answer) drawBars(this.part(".bars"), answer);
    this.part(".times").textContent = answer ? this.times() : "";
    this.part(".blank").hidden = Boolean(problem) || !this.part(".picture").hidden;
    this.part(".problem").textContent = problem ? explain(problem, this.kind) : "";
    this.part(".problem").hidden = !problem;
    this.part(".detail").textContent = problem?.detail ?? "";
    this.part(".detail").hidden = !problem?.detail || explain(problem, this.kind).includes(problem.detail);
    this.part(".retry").hidden = state !== "failed";
    this.part(".wait").hidden = state !== "waiting" && state !== "sending";
    const share = this.share ?? 0;
    this.part(".wait span").textContent = t(state === "waiting" ? "waiting" : share < 1 ? "sending" : "thinking", { share: percent(share, 0) });
    const progress = this.part("progress");
    progress.hidden = state !== "sending"; // hundreds that wait would all be drawn anew in every frame
    if (state === "sending" && share < 1) progress.value = share;
    else progress.removeAttribute("value");
    progress.setAttribute("aria-label", this.name);
  }

  times() {
    const { total, stages } = this.timing;
    const split = stages.map(([name, ms]) => `${name} ${milliseconds(ms)}`);
    const sent = this.sentFile !== this.file ? [t("sent", { size: bytes(this.sentFile.size), whole: bytes(this.file.size) })] : [];
    return [t("answered", { time: milliseconds(total) }), ...split, ...sent].join(" · ");
  }

  /** Lay the heat map over the picture. */
  async showHeat() {
    const [heat, spinner, why] = [this.part(".heat"), this.part(".spinner"), this.part(".why")];
    if (!this.answer || !heat.hidden || !spinner.hidden) return;
    const about = this.answer;
    spinner.hidden = false;
    why.hidden = true;
    try {
      const path = `${pathOf(this.model, about.version)}/explain`;
      const found = await ask(path, { method: "POST", body: this.sentFile, headers: { Accept: "image/png" } });
      if (this.answer !== about) return; // it was asked again meanwhile
      heat.src = URL.createObjectURL(await found.blob());
      heat.alt = t("heatAlt");
      heat.hidden = this.part(".legend").hidden = false;
      this.part(".problem").hidden = true;
    } catch (problem) {
      this.part(".problem").textContent = explain(problem, "");
      this.part(".problem").hidden = why.hidden = false;
    } finally {
      spinner.hidden = true;
    }
  }

  hideHeat() {
    this.part(".heat").hidden = this.part(".legend").hidden = true;
    this.part(".why").hidden = false;
  }

  remove() {
    for (const picture of this.item.querySelectorAll("img[src]")) URL.revokeObjectURL(picture.src);
    this.item.remove();
  }
}
