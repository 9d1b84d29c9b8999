"""The lab: a whole sealing cluster in containers on this machine. `bin/lab` is its command."""
