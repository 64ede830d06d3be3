"""What `locust -f` runs: students, lecturers and their arrival. `hall load` starts it as a process of its own."""

from loadtest.lecture_user import Lecturer, Student
from loadtest.shapes import LectureShape

__all__ = ["LectureShape", "Lecturer", "Student"]
