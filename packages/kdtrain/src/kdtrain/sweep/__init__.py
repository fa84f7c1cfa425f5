"""``kdtrain sweep``: a recipe in, a folder of trained and evaluated runs out.

Reading order: recipe (the YAML file), graph (the runs it means, pure), check (what can be refused before any work),
state (what a folder already holds), schedule (what may start next, pure), record (sweep.json), job (one run in a
process of its own), local and ray_runner (where processes run), plan and command (all of it together), display and
dry_run (what a person sees).
"""
