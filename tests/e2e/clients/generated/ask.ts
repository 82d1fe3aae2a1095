// Classifies a photo by the types that openapi-typescript makes of the OpenAPI document: URL MODEL PHOTO.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { argv: string[]; getBuiltinModule?: unknown };
const { readFileSync }: { readFileSync(path: string, encoding: "base64"): string } = await import("node:fs" as string);

const [url, model, photo] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url });
const { data, error } = await client.POST("/v1/models/{model}/predict", {
    params: { path: { model }, query: { top_k: 1 } },
    body: { image: readFileSync(photo, "base64") },
});
if (error) throw new Error(`${error.code}: ${error.detail}`);
const { label, probability } = data.predictions[0];
console.log(JSON.stringify({ model: data.model, version: data.version, label, probability }));
