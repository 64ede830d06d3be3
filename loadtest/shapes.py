"""The shape of a load run, as Locust asks for it: how many users there are to be now."""

from typing import Any

from locust import LoadTestShape

from loadtest.core.arrival import Shape, present_at


class LectureShape(LoadTestShape):
    """A class arrives, and the run ends after its time (`--hall-shape`, `--hall-students`, `--hall-seconds`)."""

    abstract = False

    def tick(self) -> tuple[int, float] | None:
        shape_of: Any = self  # locust's own types are partial
        options = shape_of.runner.environment.parsed_options
        after, seconds = shape_of.get_run_time(), options.hall_seconds
        if after >= seconds:
            return None
        shape = Shape(options.hall_shape)
        students = present_at(after, shape=shape, students=options.hall_students, seconds=seconds)
        lecturers = len(options.hall_rooms.split(","))
        # Users are spawned at once, as many as the shape is short of.
        return lecturers + students, float(max(1, students))
