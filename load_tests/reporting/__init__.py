"""From raw results to documents: figures, aims, tables and docs/performance.md."""
