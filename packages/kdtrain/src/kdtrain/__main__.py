"""``python -m kdtrain``: the form that launchers of many processes prefer."""

from kdtrain.cli.main import main

if __name__ == "__main__":
    main(prog_name="kdtrain")
