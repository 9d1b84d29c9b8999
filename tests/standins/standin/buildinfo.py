"""What this build of the stand-ins is: written anew by build.py for every archive, these are the values of a source checkout."""

PROGRAM = ""
NETWORK = "2k"
NOFILE_FLOOR = 100000
