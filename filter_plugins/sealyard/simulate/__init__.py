"""The plan run by events, beside Lotus's default scheduler."""
