"""What a run was worth: records of requests, and the scorecard that is computed from them."""
