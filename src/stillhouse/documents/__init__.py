"""Documents about a student, written from its records: cards, bills of materials, summaries.

`write_documents` reads a verified lineage into one fact sheet and writes every document from it;
`explain` says of each field which record it comes from. Importing this room loads no torch.
"""

from stillhouse.documents._about import About
from stillhouse.documents._catalogue import GROUPS, make_documents
from stillhouse.documents._document import Document
from stillhouse.documents._explain import Explanation, explain
from stillhouse.documents._facts import Fact, Source
from stillhouse.documents._gather import gather
from stillhouse.documents._graph import Graph, read_graph
from stillhouse.documents._sheet import FactSheet
from stillhouse.documents._write import TRACE, WrittenDocument, trace_bytes, write_documents

__all__ = [
    "write_documents",
    "WrittenDocument",
    "GROUPS",
    "TRACE",
    "trace_bytes",
    "read_graph",
    "Graph",
    "gather",
    "FactSheet",
    "make_documents",
    "Document",
    "explain",
    "Explanation",
    "Fact",
    "Source",
    "About",
]
