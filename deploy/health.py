"""Whether this container's server is ready: what HEALTHCHECK runs. Ends with 0 where /readyz answers 200."""

import http.client
import os
import ssl
import sys

PORT = int(os.environ.get("PORT", "3000"))


def connection() -> http.client.HTTPConnection:
    """To this container's own server; by TLS where it speaks that. Its certificate names another host."""
    if os.environ.get("SIGHTLINE_TLS_CERT"):
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", PORT, timeout=4, context=trusting)
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)


asked = connection()
asked.request("GET", "/readyz")
answer = asked.getresponse()
sys.stdout.write(answer.read(500).decode(errors="replace"))  # `docker inspect` shows it
sys.exit(answer.status != 200)
