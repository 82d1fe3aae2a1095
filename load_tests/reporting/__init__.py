"""From raw results to documents: figures, targets, tables and docs/performance.md."""
