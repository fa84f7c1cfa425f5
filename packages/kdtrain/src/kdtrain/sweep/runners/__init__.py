"""Jobs in, finished runs out: each in a process of its own, here or on a cluster.

Reading order: ``job`` (the process), ``local`` (processes of this machine), ``ray`` (a Ray task that keeps one),
``own_ray`` (a Ray of this machine; these two alone import it in kdtrain).
"""
