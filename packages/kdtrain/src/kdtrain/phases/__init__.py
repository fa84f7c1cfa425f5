"""The paper's phases as flat scripts over one loop (:mod:`kdtrain.training.loop`): build, loss, run."""
