"""The plan of a host made into the values that templates and modules take."""
