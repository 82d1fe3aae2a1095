"""The one version number: of the server, the commands and the client."""

VERSION = "0.1.0"
