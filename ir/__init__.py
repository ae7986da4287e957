"""What must run, how we choose to run it, what follows. Standard library only."""
