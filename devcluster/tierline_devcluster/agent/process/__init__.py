"""Containers as local processes: started, watched, ended, and not survived by anything they started."""
