"""Which version answers, and how images become batches and batches become answers. Knows no HTTP."""
