"""MLflow: a run in the folder RUN/mlruns, or where ``MLFLOW_TRACKING_URI`` says.

Through mlflow's client, which sends what it is given: an experiment's and a run's name, the settings that decide the
weights as parameters, numbers at steps. Its usage statistics are off.

The folder is MLflow's file store. It is kept up no longer beside databases, but needs no database: on two cores a
SQLite store took 9 s to begin and 30 ms a line of the log, the folder 0.06 s and 1.3 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from kdtrain.training.loggers.kept_ids import keep_id, kept_id
from kdtrain.training.loggers.logger import LoggedRun

STORE = "mlruns"
_MOST_CHARACTERS = 500
"""Of a parameter, as every version of MLflow takes it."""
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # By its defaults a server that is away would hold the run for minutes, at each line of the log.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


class MlflowLogger:
    """Begins the run there, or goes on with it.

    Args:
        run: The run.
    """

    def __init__(self, run: LoggedRun) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        store = os.environ.get("MLFLOW_TRACKING_URI") or (run.folder / STORE).resolve().as_uri()
        self._client = MlflowClient(tracking_uri=store)
        kept = kept_id(run.folder, "mlflow")
        self._id = kept if kept is not None and self._goes_on(kept) else self._begin(run)
        self._logged: dict[str, int] | None = {} if self._id == kept else None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """All numbers of a line in one request; MLflow keeps points twice, so what is there already is left out."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        new = [
            Metric(name, value, now_ms, step)
            for name, value in metrics.items()
            if step > self._last_step(name)
        ]
        if new:
            self._client.log_batch(self._id, metrics=new)

    def close(self, *, failed: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")

    def _last_step(self, name: str) -> int:
        """The last step with this number, of what earlier starts logged."""
        if self._logged is None:
            return -1
        if name not in self._logged:
            history = self._client.get_metric_history(self._id, name)
            self._logged[name] = max((point.step for point in history), default=-1)
        return self._logged[name]

    def _goes_on(self, run_id: str) -> bool:
        """Whether the store has the run; another store has another one."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def _begin(self, run: LoggedRun) -> str:
        from mlflow.entities import Param

        experiment = self._experiment(run.project)
        run_id: str = self._client.create_run(experiment, run_name=run.folder.resolve().name).info.run_id
        keep_id(run.folder, "mlflow", run_id)
        params = [Param(name, str(value)[:_MOST_CHARACTERS]) for name, value in run.settings.items()]
        self._client.log_batch(run_id, params=params)
        return run_id

    def _experiment(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:
                found = self._client.get_experiment_by_name(name)  # another run was faster
                if found is None:
                    raise
        return found.experiment_id
