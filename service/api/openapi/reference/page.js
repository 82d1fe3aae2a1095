// Shows this server's OpenAPI document. The samples in it ask the address that this page came from.
const BASE = "http://localhost:3000"; // that the samples are written for
const KEY = "sightline-key"; // kept for the session, as the page at `/` keeps it

const shown = document.querySelector("rapi-doc");
const form = document.querySelector("#key");
const fault = document.querySelector("#fault");
const here = new URL(".", location.href).href.replace(/\/$/, "");

function tell(text) {
    fault.textContent = text;
    fault.hidden = !text;
}

async function show() {
    const key = sessionStorage.getItem(KEY);
    const answer = await fetch("openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
    form.hidden = answer.status !== 401;
    if (answer.status === 401) {
        tell(key ? "The server does not know this key." : "");
        return;
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const content = JSON.parse((await answer.text()).replaceAll(BASE, here));
    content.servers = [{ url: here }];
    tell("");
    await shown.loadSpec(content);
    if (key) shown.setApiKey("bearer", key);
}

async function attempt() {
    try {
        await show();
    } catch (error) {
        tell(`The document cannot be shown: ${error.message}. Load the page again in a moment.`);
    }
}

form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, form.querySelector("input").value);
    attempt();
});

const dark = matchMedia("(prefers-color-scheme: dark)");
shown.setAttribute("theme", dark.matches ? "dark" : "light");
shown.setAttribute("primary-color", dark.matches ? "#8fb2ff" : "#1d4ed8"); // as on the page at `/`
attempt();
