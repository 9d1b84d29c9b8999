"""Machines: hardware as declared or read, made into sockets, NUMA nodes, L3 caches, cores and GPUs."""
