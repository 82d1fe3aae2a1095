"""Debian's nginx with the very configuration of deploy/nginx/, in front of servers of a test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.servers import free_port

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "nginx" / "sightline.conf.template"
FOLLOWER = ROOT / "deploy" / "nginx" / "follow-readiness.sh"


@dataclass(frozen=True)
class Proxy:
    url: str
    plain_url: str
    certificate: Path
    log: Path


def filled_in(template: str, variables: Mapping[str, str]) -> str:
    """As nginx's image does it: of all that looks like a variable only those that are set are replaced."""
    for name, value in variables.items():
        template = template.replace(f"${{{name}}}", value)
    return template


@contextmanager
def nginx(folder: Path, urls: Sequence[str]) -> Iterator[Proxy]:
    """nginx in front of these servers; TLS by a certificate of its own."""
    hosts = " ".join(f"server {url.removeprefix('http://')} max_fails=0;" for url in urls)
    with _running(folder, TEMPLATE.read_text(encoding="utf-8"), hosts) as proxy:
        yield proxy


@contextmanager
def nginx_that_follows_readiness(folder: Path, urls: Sequence[str]) -> Iterator[Proxy]:
    """nginx that asks only servers that are ready, and without any rule by which a failed request is asked again."""
    template = re.sub(r"proxy_next_upstream\w* [^;]+;", "", TEMPLATE.read_text(encoding="utf-8"))
    template = template.replace("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_next_upstream off;")
    hosts = [url.removeprefix("http://") for url in urls]
    folder.mkdir(parents=True, exist_ok=True)
    upstreams = folder / "upstreams"
    upstreams.write_text("".join(f"server {host} max_fails=0;\n" for host in hosts))
    with _running(folder, template, f"include {upstreams};") as proxy:
        follower = subprocess.Popen([FOLLOWER, upstreams, folder / "pid", *hosts])
        try:
            yield proxy
        finally:
            follower.terminate()
            follower.wait(30)


@contextmanager
def _running(folder: Path, template: str, upstreams: str) -> Iterator[Proxy]:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    tls, plain = free_port(), free_port()
    _make_certificate(folder)
    variables = {"SIGHTLINE_UPSTREAMS": upstreams, "NGINX_PORT": str(tls), "NGINX_PLAIN_PORT": str(plain)}
    (folder / "sightline.conf").write_text(filled_in(template, variables | {"NGINX_TLS": str(folder)}))
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"""
        pid {folder}/pid; worker_processes 1; daemon off; error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; {temporary} include {folder}/sightline.conf; }}
    """
    (folder / "nginx.conf").write_text(main if os.geteuid() else f"user root;{main}")
    process = subprocess.Popen([shutil.which("nginx") or "nginx", "-c", folder / "nginx.conf", "-p", folder])
    proxy = Proxy(f"https://localhost:{tls}", f"http://localhost:{plain}", folder / "tls.crt", folder / "error.log")
    try:
        _wait_for(proxy, process)
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


def _make_certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)


def _wait_for(proxy: Proxy, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(proxy.plain_url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"nginx does not run: see {proxy.log} and above")
