"""`tierline demo`: the whole system on one machine, a spot node lost in the middle, and what that cost."""
