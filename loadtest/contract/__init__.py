"""What other folders may know of the load tests: the shapes of what a client receives, and of recorded histories."""
