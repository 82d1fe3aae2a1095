"""A fit on several devices: GPUs of this machine, or the workers that TF_CONFIG names. docs/scaling.md says how."""
