// The page's behaviour. One module, no dependencies, no request to anybody but this server.

const SHOWN = 5; // bars of one result; the API gives all classes
const AT_ONCE = 4; // requests in flight: enough to fill a batch, too few to fill the queue
const CAMERA_SIDE = 320; // pixels; networks here look at 180 at most, so more would only cost time

const $ = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

const waiting = [];
let running = 0;
let models = new Map();
let stream = null;

/** What the server says is wrong, fit for a person. */
class Problem extends Error {}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem("The server cannot be reached. Is it still running?");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("Retry-After");
  const hint = wait ? ` Try again in ${wait} s.` : "";
  throw new Problem(`${body.title ?? `Error ${answer.status}`}: ${body.detail ?? "the server gave no reason"}.${hint}`);
}

/** Parse a Server-Timing header to [name, milliseconds] pairs. */
function stages(header) {
  return (header ?? "")
    .split(",")
    .map((part) => [part.split(";")[0].trim(), Number(/;\s*dur=([\d.]+)/.exec(part)?.[1])])
    .filter(([name, duration]) => name && Number.isFinite(duration));
}

async function predict(model, image) {
  const began = performance.now();
  const type = image.type || "application/octet-stream";
  const answer = await ask(`v1/models/${model}/predict`, { method: "POST", body: image, headers: { "Content-Type": type } });
  const { predictions, familiar = true } = await answer.json();
  return { predictions, familiar, total: performance.now() - began, stages: stages(answer.headers.get("Server-Timing")) };
}

/** Bars of the most probable labels, paler where the image looks unfamiliar, with a sentence above that says so. */
function drawBars(into, strange, { predictions, familiar }) {
  strange.hidden = familiar;
  into.classList.toggle("guess", !familiar);
  into.replaceChildren(
    ...predictions.slice(0, SHOWN).map(({ label, probability }) => {
      const bar = document.createElement("div");
      const [name, share] = [document.createElement("span"), document.createElement("span")];
      bar.className = "bar";
      name.textContent = label;
      share.textContent = percent.format(probability);
      bar.style.setProperty("--share", `${100 * probability}%`);
      bar.append(name, share);
      return bar;
    }),
  );
}

function drawTimes(into, { total, stages: parts }) {
  const split = parts.map(([name, ms]) => `${name} ${milliseconds(ms)}`);
  into.textContent = [`answer after ${milliseconds(total)}`, ...split].join(" · ");
}

function announce(text) {
  $("news").textContent = text;
}

function addResult(image, name) {
  const item = $("result").content.firstElementChild.cloneNode(true);
  const picture = item.querySelector("img");
  picture.src = URL.createObjectURL(image);
  picture.alt = name;
  picture.onload = () => picture.parentElement.style.setProperty("--shape", picture.naturalWidth / picture.naturalHeight);
  picture.onerror = () => picture.parentElement.remove(); // no picture, or none that browsers show: the caption names it
  item.querySelector("figcaption").textContent = name;
  $("results").prepend(item);
  $("clear").disabled = false;
  return item;
}

async function classify(image, name) {
  const item = addResult(image, name);
  const model = $("model").value;
  try {
    const answer = await predict(model, image);
    drawBars(item.querySelector(".bars"), item.querySelector(".strange"), answer);
    drawTimes(item.querySelector(".times"), answer);
    const [best] = answer.predictions;
    const said = `${best.label}, ${percent.format(best.probability)}`;
    announce(answer.familiar ? `${name}: ${said}` : `${name}: nothing the model was trained on; its guess is ${said}`);
    if ($("heat").checked) await overlayHeat(item, model, image);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(item, name, error);
  }
}

function showProblem(item, name, error) {
  const problem = item.querySelector(".problem");
  problem.textContent = error.message;
  problem.hidden = false;
  announce(`${name}: ${error.message}`);
}

async function overlayHeat(item, model, image) {
  const answer = await ask(`v1/models/${model}/explain`, { method: "POST", body: image, headers: { Accept: "image/png" } });
  const heat = item.querySelector(".heat");
  if (!heat) return; // a picture that this browser cannot show has nothing to lay the map over
  heat.src = URL.createObjectURL(await answer.blob());
  heat.alt = "Heat map: the decision rests on the warm parts";
  heat.hidden = false;
}

/** Classify pictures in the order they came, a few at a time. */
function take(images) {
  waiting.push(...images);
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    const image = waiting.shift();
    classify(image, image.name || "pasted image").finally(() => {
      running -= 1;
      take([]);
    });
  }
}

function clear() {
  waiting.length = 0;
  for (const picture of document.querySelectorAll("#results img[src]")) URL.revokeObjectURL(picture.src);
  $("results").replaceChildren();
  $("clear").disabled = true;
  announce("Results removed");
}

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    $("state").textContent = `The camera cannot be used: ${error.message}`;
    return;
  }
  $("video").srcObject = stream;
  await $("video").play();
  $("camera").setAttribute("aria-pressed", "true");
  $("camera").textContent = "Stop the camera";
  $("live").hidden = false;
  watch();
}

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("camera").setAttribute("aria-pressed", "false");
  $("camera").textContent = "Use the camera";
  $("live").hidden = true;
}

function frame() {
  const video = $("video");
  const canvas = document.createElement("canvas");
  const scale = CAMERA_SIDE / Math.max(video.videoWidth, video.videoHeight);
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
}

/** One frame after the other, as fast as the answers come. */
async function watch() {
  let rate = 0;
  while (stream) {
    const began = performance.now();
    try {
      const answer = await predict($("model").value, await frame());
      drawBars($("live-bars"), $("live-strange"), answer);
      $("letter").textContent = answer.familiar ? answer.predictions[0].label : "?";
      rate = 0.8 * rate + (0.2 * 1000) / (performance.now() - began);
      $("rate").textContent = `${rate.toFixed(0)} images per second, answer after ${milliseconds(answer.total)}`;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      $("rate").textContent = error.message;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await new Promise(requestAnimationFrame);
  }
}

async function describe() {
  const name = $("model").value;
  $("curl").textContent =
    `curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' ${new URL(`v1/models/${name}/predict`, document.baseURI)}`;
  const about = models.get(name) ?? (await (await ask(`v1/models/${name}`)).json());
  models.set(name, about);
  if ($("model").value !== name || !about.labels) return;
  const test = about.metrics.test ?? about.metrics.validation;
  const labels = about.labels.length > 10 ? `${about.labels.length} classes` : about.labels.join(", ");
  $("about").textContent =
    `Tells apart ${labels}. Right on ${percent.format(test.accuracy)} of ${test.images} unseen images. ` +
    `Runs on ${about.engine} in ${about.precision}.`;
}

async function start() {
  try {
    const listed = await (await ask("v1/models")).json();
    for (const { model } of listed.models) $("model").add(new Option(model, model));
    $("model").disabled = listed.models.length === 0;
    $("state").textContent = listed.ready ? "Ready" : "Not ready yet: some models are loading or broken";
    if (listed.models.length) await describe();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    $("state").textContent = error.message;
  }
}

$("controls").addEventListener("submit", (event) => event.preventDefault());
$("model").addEventListener("change", describe);
$("clear").addEventListener("click", clear);
$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
$("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take([...event.dataTransfer.files]);
});

start();
