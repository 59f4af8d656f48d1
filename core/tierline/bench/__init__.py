"""What a benchmark and the engines it compares say to each other."""
