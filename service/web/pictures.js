// Files before they are sent: where they come from, what they are, and made smaller.

const SHRUNK_FROM_BYTES = 150_000; // a smaller file is on its way sooner than it is shrunk
const LEAST_SIDE = 256; // pixels of the shorter side, also where a network looks at less
const QUALITY = 0.92;
const PICTURE_NAME = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])$/i;

const BEGINNINGS = [
  ["heic", /^.{4}ftyp(hei|hev|mif1|msf1)/s],
  ["video", /^.{4}ftyp(?!avi[fs])|^\x1aE\xdf\xa3/s],
  ["pdf", /^%PDF/],
];

export const isPicture = (file) => (file.type.startsWith("image/") && !file.type.includes("svg")) || PICTURE_NAME.test(file.name);

/** What a file is that may be no picture: heic, video, pdf, text, empty, or "" for anything else. */
export async function kindOf(file) {
  const head = new Uint8Array(await file.slice(0, 64).arrayBuffer());
  if (!head.length) return "empty";
  const letters = String.fromCharCode(...head);
  const found = BEGINNINGS.find(([, beginning]) => beginning.test(letters));
  if (found) return found[0];
  return head.every((byte) => byte > 126 || byte > 31 || (byte > 8 && byte < 14)) && !/^(BM|GIF8|RIFF|II\*|\xff\xd8|\x89P)/.test(letters) ? "text" : "";
}

/** A photo of which the shorter side is twice what the network looks at, as JPEG; the file itself where that gains nothing. */
export async function shrunk(file, side) {
  if (file.size < SHRUNK_FROM_BYTES) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // upright, as its EXIF orientation says
  } catch {
    return file; // no picture, or none that this browser reads
  }
  const scale = Math.max(LEAST_SIDE, 2 * side) / Math.min(bitmap.width, bitmap.height);
  if (scale > 0.8) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // the server lays transparency on white too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const made = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return made && made.size < file.size ? made : file;
}

/** The files of a drop or a paste. Folders are read through; of them only pictures are taken. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) {
    if (entry instanceof File) found.push(entry);
    else if (entry?.isDirectory) found.push(...(await filesBelow(entry)).filter(isPicture));
    else if (entry) found.push(await fileOf(entry));
  }
  return found;
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function filesBelow(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!some.length) break;
    for (const entry of some) found.push(...(entry.isDirectory ? await filesBelow(entry) : [await fileOf(entry)]));
  }
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}
