"""The Open Inference Protocol, version 2, as KServe's and Triton's clients speak it: every served model under `/v2`."""
