"""The node agent: one process that is any number of virtual nodes and runs their pods as local processes."""
