"""Other systems with the same access-control workload: development nodes of Ethereum, and etcd."""
