"""What an operator does to a running cluster: handover, counter move, scheduler switch, pledging."""
