"""Groups and variables of an inventory: what is wrong with them, and the planner's document made of them."""
