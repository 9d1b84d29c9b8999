"""What people look at: the plan as a page, with its drawings."""
