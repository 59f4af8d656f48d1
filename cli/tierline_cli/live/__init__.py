"""Looking into what runs: why a request was treated so, and what fleets do now."""
