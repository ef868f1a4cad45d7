"""The benchmarks room: workloads, their driver and the report."""
