"""The OpenAPI document as a page."""

from __future__ import annotations

from html import escape
from typing import Any

import orjson

from service.api.openapi import limits


def html(content: dict[str, Any]) -> str:
    """The document as plain HTML, without a script and without a request to anywhere."""
    sections = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
        f"{_parameters(operation)}{_bodies(operation)}{_responses(operation)}</section>"
        for path, operations in content["paths"].items()
        for method, operation in operations.items()
    ]
    rows = "".join(
        f"<tr><td>{escape(r.what)}<td>{escape(r.setting)}<td>{escape(r.default)}<td>{r.status} {escape(r.code)}"
        for r in limits.describe()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Sightline: the API</title><link rel="stylesheet" href="web/page.css"><main><h1>Sightline: the API</h1>'
        '<p>As a document: <a href="openapi.json">openapi.json</a>. To try it: <a href="./">the page</a>.</p>'
        f"<h2>Limits</h2><table><tr><th>what<th>setting<th>default<th>beyond it{rows}</table>{''.join(sections)}</main>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    items = [
        f"<li><code>{escape(p['name'])}</code> ({p['in']}) {escape(p.get('description', ''))}"
        for p in operation.get("parameters", ())
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _bodies(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    parts = [f"<li><code>{escape(kind)}</code>{_examples(body)}" for kind, body in content.items()]
    return f"<p>Body, one of:</p><ul>{''.join(parts)}</ul>" if parts else ""


def _responses(operation: dict[str, Any]) -> str:
    parts = []
    for status, response in operation["responses"].items():
        body: dict[str, Any] = next(iter(response["content"].values()), {}) if int(status) >= 400 else {}
        summary = f"<summary>{status} {escape(response['description'])}</summary>"
        parts.append(f"<details>{summary}{_examples(body)}</details>")
    return "".join(parts)


def _examples(body: dict[str, Any]) -> str:
    values = [example["value"] for example in body.get("examples", {}).values() if "value" in example]
    return "".join(f"<pre>{escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>" for value in values)
