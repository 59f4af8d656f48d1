"""One pod: what it asks for, where it stands, what has to be done next, and what its status says."""
