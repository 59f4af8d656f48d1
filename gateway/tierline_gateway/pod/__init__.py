"""Several gateway processes in one pod: a supervisor that starts them, speaks for them, and merges what they share."""
