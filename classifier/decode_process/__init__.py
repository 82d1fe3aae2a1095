"""Decoding in processes of its own, which are ended when they take too long, too much memory, or break.

`DecodeProcesses` starts them when the first picture comes and ends them when none has come for a while.
"""

from classifier.decode_process.pool import LONGEST_S as LONGEST_S
from classifier.decode_process.pool import DecodeProcesses as DecodeProcesses
