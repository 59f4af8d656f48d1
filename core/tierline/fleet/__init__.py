"""Pure planning of fleets: what is observed and wanted goes in, what to write comes out. Time is an argument."""
