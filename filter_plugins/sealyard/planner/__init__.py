"""The planner: the input document in, who does what where out."""
