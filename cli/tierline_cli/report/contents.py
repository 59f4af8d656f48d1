"""What the report is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierline.telemetry.records import ClusterFacts, RequestRecord
from tierline.telemetry.scorecard import Scorecard


@dataclass(frozen=True, slots=True)
class ReportContents:
    """A run and what it was worth. `problems` are the reasons why the run does not pass, empty when it does.

    `environment` is shown as it is: what ran where. `notes` say what was checked beyond the scorecard.
    """

    title: str
    records: tuple[RequestRecord, ...]
    facts: ClusterFacts
    scorecard: Scorecard
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def workers(self) -> tuple[str, ...]:
        """All workers that served something, in the order of their first token."""
        stays = sorted(
            (placement.started_ms, placement.worker) for record in self.records for placement in record.placements
        )
        return tuple(dict.fromkeys(worker for _, worker in stays))
