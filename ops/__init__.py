"""What operators and machines read and run."""
