"""What a plan is: its words, its difference to another one, and what of it is in force."""
