"""What an inventory may say: its groups and variables as plain data, and the options of each variable."""
