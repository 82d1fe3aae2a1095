"""The process that watches the server, BentoML's with circus: its commands, its words, and how to do without it."""
