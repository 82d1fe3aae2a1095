"""The process that watches the server, which is BentoML's, with circus: its commands, and what it says."""
