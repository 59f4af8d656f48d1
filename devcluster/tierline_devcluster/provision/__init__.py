"""Getting the programs: from the cache, from the package index, or built from Debian's sources."""
