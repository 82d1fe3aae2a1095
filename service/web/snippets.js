// The same request from a program, to copy. A key is named and never written out.

import { key } from "./server.js";

const quoted = (text) => (/^[\w.-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);
const url = (path) => new URL(`${path}/predict`, document.baseURI).href;

const WRITERS = {
  curl: (path, file) =>
    `curl --data-binary @${quoted(file)} -H 'Content-Type: application/octet-stream'${key() ? ' -H "Authorization: Bearer $SIGHTLINE_KEY"' : ""} ${url(path)}`,
  Python: (path, file) =>
    [
      `import json, ${key() ? "os, " : ""}pathlib, urllib.request`,
      `image = pathlib.Path(${JSON.stringify(file)}).read_bytes()`,
      `headers = {"Content-Type": "application/octet-stream"${key() ? ', "Authorization": "Bearer " + os.environ["SIGHTLINE_KEY"]' : ""}}`,
      `request = urllib.request.Request(${JSON.stringify(url(path))}, image, headers)`,
      `print(json.load(urllib.request.urlopen(request)))`,
    ].join("\n"),
  JavaScript: (path) =>
    [
      `const [file] = document.querySelector("input[type=file]").files;`,
      `const headers = { "Content-Type": "application/octet-stream"${key() ? ", Authorization: `Bearer ${key}`" : ""} };`,
      `const answer = await fetch(${JSON.stringify(url(path))}, { method: "POST", body: file, headers });`,
      `console.log(await answer.json());`,
    ].join("\n"),
};

export const LANGUAGES = Object.keys(WRITERS);
export const snippet = (language, path, file) => WRITERS[language](path, file);

/** To the clipboard, also by plain http, where browsers give pages none. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
