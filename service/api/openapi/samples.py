"""How each operation is asked: a line of curl, and a few of JavaScript and Python.

`BASE` stands for the server's address; whoever shows the document may put its own there.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

BASE = "http://localhost:3000"

_JSON = "application/json"


class _Body(NamedTuple):
    """What a sample sends, in each of the languages: options of curl, lines before the request, and its arguments."""

    curl: str = ""
    js_before: str = ""
    js: str = ""
    python_before: str = ""
    python: str = ""


_ONE_IMAGE = _Body(
    curl=" --data-binary @cat.jpg -H 'Content-Type: image/jpeg'",
    js_before='const image = document.querySelector("input[type=file]").files[0];\n',
    js=', { method: "POST", body: image }',
    python_before='image = Path("cat.jpg").read_bytes()\n',
    python=", content=image",
)
_IMAGES = _Body(
    curl=" -F images=@cat.jpg -F images=@cat.jpg",
    js_before=(
        "const form = new FormData();\n"
        'for (const image of document.querySelector("input[type=file]").files) form.append("images", image);\n'
    ),
    js=', { method: "POST", body: form }',
    python_before='image = Path("cat.jpg").read_bytes()\nfiles = [("images", image), ("images", image)]\n',
    python=", files=files",
)
_TENSOR = '{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": [%s]}'
_INFER = _Body(
    curl=" --data-binary @- -H 'Content-Type: application/json'",
    js_before=(
        'const bytes = new Uint8Array(await document.querySelector("input[type=file]").files[0].arrayBuffer());\n'
        'const image = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));\n'
        f"const inputs = [{_TENSOR % 'image'}];\n"
    ),
    js=(
        ', {\n    method: "POST",\n    headers: { "Content-Type": "application/json" },'
        "\n    body: JSON.stringify({ inputs }),\n}"
    ),
    python_before=(
        f'image = base64.b64encode(Path("cat.jpg").read_bytes()).decode()\ninputs = [{_TENSOR % "image"}]\n'
    ),
    python=', json={"inputs": inputs}',
)
_NOTHING = _Body()
_POSTED = _Body(curl=" -X POST", js=', { method: "POST" }')
_INFER_PIPE = 'echo \'{"inputs": [' + _TENSOR % "\"'$(base64 < cat.jpg | tr -d '\\n')'\"" + "]}' | \\\n    "


def of(method: str, path: str, operation: dict[str, Any]) -> list[dict[str, str]]:
    """The samples of an operation, as `x-codeSamples` has them. Its path has the first example of each parameter."""
    url = BASE + path
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            first = next(iter(parameter["examples"].values()))["value"]
            url = url.replace(f"{{{parameter['name']}}}", str(first))
    body = _body_of(method, operation)
    is_json = _JSON in operation["responses"]["200"]["content"]
    return [
        {"lang": "Shell", "label": "curl", "source": (_INFER_PIPE if body is _INFER else "") + _curl(url, body)},
        {"lang": "JavaScript", "label": "JavaScript", "source": _javascript(url, body, is_json)},
        {"lang": "Python", "label": "Python", "source": _python(method, url, body, is_json)},
    ]


def _body_of(method: str, operation: dict[str, Any]) -> _Body:
    content = operation.get("requestBody", {}).get("content", {})
    form = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    if "images" in form:
        return _IMAGES
    if "image" in form:
        return _ONE_IMAGE
    if "inputs" in json.dumps(content):
        return _INFER
    return _POSTED if method == "post" else _NOTHING


def _curl(url: str, body: _Body) -> str:
    return f"curl{body.curl} \\\n    {url}" if body.curl else f"curl {url}"


def _javascript(url: str, body: _Body, is_json: bool) -> str:
    read = "json" if is_json else "text"
    return f'{body.js_before}const answer = await fetch("{url}"{body.js});\nconsole.log(await answer.{read}());'


def _python(method: str, url: str, body: _Body, is_json: bool) -> str:
    standard = [
        f"{line}\n"
        for line, word in (("import base64", "base64."), ("from pathlib import Path", "Path("))
        if word in body.python_before
    ]
    imports = "".join(standard) + ("\n" if standard else "") + "import httpx\n\n"
    read = "json()" if is_json else "text"
    return f'{imports}{body.python_before}answer = httpx.{method}("{url}"{body.python})\nprint(answer.{read})'
