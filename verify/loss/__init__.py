"""A user's own loss: membership in the family, agreement with torch code."""
