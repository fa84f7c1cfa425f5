"""What a prediction is asked for, what of a slide is needed for it, and what is said: plain data.

Reading order: ``request``, ``slide_images`` (a slide, read), ``prediction`` (what is said of it), ``classify`` (from
the one to the other), ``slugs`` (classes in names of files).
"""
