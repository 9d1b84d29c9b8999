"""What the planner needs to know of a machine, read from /sys, /proc and nvidia-smi."""
