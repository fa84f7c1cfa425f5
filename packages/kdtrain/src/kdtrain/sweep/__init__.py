"""``kdtrain sweep``: a recipe in, a folder of trained and evaluated runs out.

Reading order: ``recipe`` (the YAML file), ``grid`` (methods whose settings are lists, pure), ``graph`` (the runs that
it means, pure), ``jobs`` (a run's configuration and network), ``folds`` (of the patients, if asked for), ``check``
(what can be refused before any work), ``plan`` (all jobs of a sweep), ``estimate`` (what they will take), ``state``
(what a folder already holds), ``standings`` (what may start next, pure), ``record`` (sweep.json), ``runners`` (where
runs take place), ``display`` (what a person sees), ``command`` (all of it).
"""
