"""A labelled simulator of traffic: benign accounts, and single, mixed and many-account extraction.

Prompts come from whoever calls it, by area; frames, senders and times are made here. Two halves of
phrases share none, so that what is fitted on one can be measured on the other.
"""

from stillhouse.traffic.simulate._frames import HALVES, MANNERS, Half, Manner, Phrases
from stillhouse.traffic.simulate._persons import Area, Cast, Person, Pool, Task
from stillhouse.traffic.simulate._traffic import Account, Sent, Simulator, labels

__all__ = [
    "Half",
    "HALVES",
    "Manner",
    "MANNERS",
    "Phrases",
    "Area",
    "Pool",
    "Task",
    "Person",
    "Cast",
    "Simulator",
    "Account",
    "Sent",
    "labels",
]
