"""What is wrong with a resource, said so that a human can put it right."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldProblem:
    """One thing to put right: `path` is the field as users write it (`spec.pools[0].role`).

    `resource` names the object (`TenantQuota demo/acme`) where problems of several objects are listed together.
    """

    path: str
    message: str
    resource: str = ""

    def __str__(self) -> str:
        where = f"{self.resource}: " if self.resource else ""
        return f"{where}{self.path} {self.message}"


class InvalidResource(ValueError):
    """A resource that cannot be used; `problems` holds everything found, in the order of the fields."""

    def __init__(self, resource: str, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__(f"{resource} is invalid: {'; '.join(str(problem) for problem in problems)}.")
        self.resource = resource
        self.problems = problems
