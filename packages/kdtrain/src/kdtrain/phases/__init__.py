"""The paper's phases as flat scripts over one loop (:mod:`kdtrain.training.loop`): build, loss, run.

Reading order: ``networks`` (which network a phase trains), ``stain`` (which stain its images are brought into),
``teacher`` (Phase I, and the baseline), ``teaching`` (where a distillation's teacher comes from), ``distill`` (Phase
II), ``finetune`` (Phase III), ``start`` (from a configuration to its phase). A teacher's outputs written once:
``teacher_views`` (the teacher at work), ``cache_writer``, ``cache_folder``, ``cache_teacher``; and those of any other
teacher, ``cache_source``.
"""
