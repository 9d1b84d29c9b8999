"""What this build is: build.py writes it anew for every archive; these are the values of a checkout."""

PROGRAM = ""
NETWORK = "2k"
NOFILE_FLOOR = 100000
STACK = "lotus"
# Of the stack; empty in a checkout, which asks its contract.
VERSION = ""
# Of the fork: 1 schedules by worker flags, 2 by myscheduler.json; 0 is the official worker of the fork's base.
GENERATION = 2
NEWEST_NETWORK_VERSION = 14
