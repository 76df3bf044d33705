"""What all four packages need: errors, input validation, the command line's frame, progress, atomic files."""
