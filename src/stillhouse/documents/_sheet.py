"""The fact sheet: all that the documents say, typed, each value with where it comes from."""

from stillhouse.documents._facts import Fact
from stillhouse.records import Record


class FileFacts(Record):
    """One data file of an artefact."""

    name: Fact
    sha256: Fact
    bytes: Fact
    rows: Fact


class ArtifactFacts(Record):
    """One artefact of the graph."""

    name: str
    kind: Fact
    stage: Fact
    created_utc: Fact
    manifest_sha256: Fact
    rows_root: Fact
    version: Fact
    """Of the stillhouse that wrote it."""
    commit: Fact
    num_in: Fact
    kept: Fact
    dropped: dict[str, Fact]
    """Rows that were left out, by reason."""
    seconds: Fact
    cost_usd: Fact
    python: Fact
    platform: Fact
    device: Fact
    torch: Fact
    files: tuple[FileFacts, ...]
    parents: tuple[str, ...]
    made_from: Fact
    """The same as text."""
    path: Fact
    """Its name as a fact."""


class ModelFacts(Record):
    """The student."""

    artifact: str
    name: Fact
    version: Fact
    what: Fact
    """`language model`, or the kind of classifier: `ngram`, `encoder` ..."""
    base: Fact
    base_revision: Fact
    objective: Fact
    steps: Fact
    parameters: Fact
    layers: Fact
    final_loss_nats: Fact
    trained_tokens: Fact
    settings: dict[str, Fact]
    """What the training was set to, by dotted name."""
    seeds: dict[str, Fact]
    validation: Fact
    """Agreement with the teacher on rows that the training set aside, with its interval."""
    certificate: Fact
    """What was certified of the cascade that the documents are about, in one sentence."""


class SettingsOfTask(Record):
    """What is asked for, where the student is of a task."""

    name: Fact
    kind: Fact
    labels: tuple[Fact, ...]


class ImportFacts(Record):
    """Where completions came from that stillhouse did not ask for itself."""

    artifact: str
    source: Fact
    format: Fact
    rows: Fact
    scrubbed: dict[str, Fact]
    """What was taken out of the texts, by kind."""


class TeacherFacts(Record):
    """One model that wrote rows, under the teacher that was asked."""

    id: Fact
    model: Fact
    """What the teacher says answered."""
    provider: Fact
    revision: Fact
    rows: Fact
    train_rows: Fact
    train_tokens: Fact
    """Prompt and completion, as the teacher counts them."""
    first_utc: Fact
    last_utc: Fact


class DatasetFacts(Record):
    """The rows that the student learnt from."""

    artifact: str
    name: Fact
    rows: Fact
    splits: dict[str, Fact]
    groups: Fact
    prompts: Fact
    train_bytes: Fact
    untraced: Fact
    task: SettingsOfTask
    curation: dict[str, Fact]
    """What the curation was set to."""
    contamination: dict[str, Fact]
    """What was found of held-out messages in the training rows."""
    sampling: dict[str, Fact]
    """How the completions were drawn."""
    collections: tuple[str, ...]
    """Artefacts that hold the calls."""


class MetricFacts(Record):
    """One measured value with its interval."""

    name: Fact
    """For programs."""
    label: Fact
    """For people."""
    value: Fact
    low: Fact
    high: Fact
    n: Fact


class EvaluationFacts(Record):
    """What one evaluation measured of the student."""

    artifact: str
    title: Fact
    verdict: Fact
    created_utc: Fact
    dataset: str | None
    """The artefact whose held-out rows it rests on."""
    metrics: tuple[MetricFacts, ...]


class ClauseFacts(Record):
    """A clause that the verdict rests on."""

    id: Fact
    url: Fact
    date: Fact
    text_sha256: Fact
    disputed: Fact
    summary: Fact
    evidence: Fact
    """How well the text is known: `primary`, `copy`, `secondary` or `recalled`."""


class DutyFacts(Record):
    """Something that whoever has the student must do, or must not."""

    kind: Fact
    value: Fact
    clause: Fact
    sources: tuple[Fact, ...]


class FindingFacts(Record):
    """What the terms of one source say."""

    source: Fact
    origin: Fact
    rows: Fact
    verdict: Fact
    reason: Fact
    clauses: tuple[ClauseFacts, ...]


class TermsFacts(Record):
    """The verdict over terms, as the gate recorded it."""

    artifact: str
    verdict: Fact
    registry_version: Fact
    registry_sha256: Fact
    judged_on: Fact
    findings: tuple[FindingFacts, ...]
    duties: tuple[DutyFacts, ...]
    conflicts: tuple[Fact, ...]
    """Why duties cannot be kept at once."""
    waivers: tuple[dict[str, Fact], ...]
    note: Fact


class DataSourceFacts(Record):
    """One kind of training data, as the user declares it."""

    used: Fact
    description: Fact


class AboutFacts(Record):
    """What the user declares, by its name in the file of `--about`."""

    texts: dict[str, Fact]
    """Every text, number and yes or no, by dotted name: `provider.name`."""
    sources: dict[str, DataSourceFacts]
    languages: tuple[Fact, ...]


class FactSheet(Record):
    """All facts about one subject.

    Attributes:
        subject: Name of the artefact that the documents are about.
        artifacts: The graph, parents before children.
        model: None where the subject is a dataset.
        dataset: None where the lineage holds none.
        terms: None where no gate left a record.
    """

    subject: str
    artifacts: tuple[ArtifactFacts, ...]
    model: ModelFacts | None
    dataset: DatasetFacts | None
    teachers: tuple[TeacherFacts, ...]
    imports: tuple[ImportFacts, ...]
    evaluations: tuple[EvaluationFacts, ...]
    terms: TermsFacts | None
    no_terms: Fact
    """Where a record of terms was looked for."""
    lineage: Fact
    """The subject, citing every manifest of its lineage: what was looked through."""
    about: AboutFacts

    def artifact(self, name: str) -> ArtifactFacts:
        """The artefact of that name."""
        return next(artifact for artifact in self.artifacts if artifact.name == name)

    def said(self, name: str) -> Fact:
        """What the user declares under a dotted name."""
        return self.about.texts[name]
