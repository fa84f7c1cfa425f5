"""Jobs in, finished runs out: each in a process of its own, here or on a cluster.

Reading order: ``job`` (the process), ``local`` (processes of this machine), ``ray`` (a Ray task that keeps one; the
only import of Ray in kdtrain).
"""
