"""Tasks in, their results out, in processes on this machine or on a Ray cluster; the only room that imports Ray.

It knows nothing of slides: a task is a function and its argument. What goes wrong with one item stays with it.

Reading order: ``executor`` (items to results), ``own_ray`` and ``cluster`` (Ray started here, or joined),
``surroundings`` (what a caller has again afterwards), ``ray_run`` (the tasks in flight), ``machines`` (the cluster's
nodes).
"""
