"""The scheduling core: who runs next, in which batch, on which blocks. Pure: time comes in as an argument."""
