"""What this build is: build.py writes it anew for every archive; these are the values of a checkout."""

PROGRAM = ""
NETWORK = "2k"
NOFILE_FLOOR = 100000
