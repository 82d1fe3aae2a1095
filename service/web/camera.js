// The camera: one frame after the other, as fast as the answers come.

import { drawBars, explain } from "./card.js";
import { milliseconds, number, t } from "./language.js";
import { Problem, pause } from "./server.js";

const SIDE = 320; // pixels; networks here look at 224 at most, so more would only cost time
const FAULTS = { NotFoundError: "cameraNone", OverconstrainedError: "cameraNone", NotAllowedError: "cameraDenied", NotReadableError: "cameraBusy" };

const $ = (id) => document.getElementById(id);
let stream = null;

export const isOn = () => stream !== null;

/** `predict` takes a JPEG and gives an answer with its `total` in milliseconds. Gives "" or why there is no camera. */
export async function start(predict) {
  if (!navigator.mediaDevices?.getUserMedia) return t("cameraInsecure");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (fault) {
    return FAULTS[fault.name] ? t(FAULTS[fault.name]) : t("cameraFault", { reason: fault.message });
  }
  $("video").srcObject = stream;
  await $("video").play();
  draw();
  watch(predict);
  return "";
}

export function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  draw();
}

export function draw() {
  $("camera").setAttribute("aria-pressed", String(isOn()));
  $("camera").textContent = t(isOn() ? "cameraStop" : "camera");
  $("live").hidden = !isOn();
}

function frame() {
  const video = $("video");
  const canvas = document.createElement("canvas");
  const scale = SIDE / Math.max(video.videoWidth, video.videoHeight);
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
}

async function watch(predict) {
  let rate = 0;
  while (stream) {
    const began = performance.now();
    try {
      const answer = await predict(await frame());
      drawBars($("live-bars"), answer);
      $("live-strange").hidden = answer.familiar !== false;
      $("letter").textContent = answer.familiar === false ? "?" : answer.predictions[0].label;
      rate = 0.8 * rate + (0.2 * 1000) / (performance.now() - began);
      $("rate").textContent = t("rate", { rate: number(rate, { maximumFractionDigits: 0 }), time: milliseconds(answer.total) });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      $("rate").textContent = explain(problem, "");
      await pause(1);
    }
    await new Promise(requestAnimationFrame);
  }
}
