"""Frames of prompts that the simulator fills, in two halves that share no phrase.

What is fitted on one half is measured on the other. `{}` is where the content goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Half = Literal["fit", "test"]
Manner = Literal["open", "quiet", "application"]
MANNERS: tuple[Manner, ...] = ("open", "quiet", "application")


@dataclass(frozen=True)
class Phrases:
    """What frames of one half are made of.

    Attributes:
        roles: How an application's frame begins.
        duties: What it wants.
        forms: In which form.
        wrappers: Whole frames of public frameworks, which many applications share.
        habits: Short frames of people, who mostly use none.
        lessons: Frames of people who learn or test, with the words that extraction uses too.
        asks: What extraction wants of an answer.
        quiet_asks: The same without a word that a cue is taken from.
        openings: How its frames begin.
        endings: How they end.
    """

    roles: Sequence[str]
    duties: Sequence[str]
    forms: Sequence[str]
    wrappers: Sequence[str]
    habits: Sequence[str]
    lessons: Sequence[str]
    openings: Sequence[str]
    asks: Sequence[str]
    quiet_asks: Sequence[str]
    endings: Sequence[str]

    def application(self, rng: np.random.Generator) -> str:
        """A frame of one application's task."""
        subject = " ".join(rng.choice(_SUBJECTS, 2, replace=False))
        name = f"{rng.choice(_SYLLABLES)}{rng.choice(_SYLLABLES)}".title()
        role = str(rng.choice(self.roles)).format(subject=subject, name=name)
        duty = str(rng.choice(self.duties)).format(subject=subject, name=name)
        form = str(rng.choice(self.forms)).format(num=rng.integers(1, 9) * 10)
        return f"{role} {duty} {form}\n\n{{}}"

    def extraction(self, rng: np.random.Generator, manner: Manner = "open") -> str:
        """A frame of an extraction campaign.

        Args:
            manner: `open` asks for reasoning and the like; `quiet` asks for good answers only;
                `application` has a frame as an application's.
        """
        if manner == "application":
            return self.application(rng)
        opening, ending = str(rng.choice(self.openings)), str(rng.choice(self.endings))
        wanted = self.asks if manner == "open" else self.quiet_asks
        asks = " ".join(map(str, rng.choice(wanted, 2, replace=False)))
        return f"{opening}\n\n{{}}\n\n{asks} {ending}"


_SUBJECTS = (
    *("billing", "cards", "travel", "loans", "orders", "returns", "news", "health", "garden"),
    *("music", "games", "sports", "law", "tax", "mail", "calendar", "weather", "recipes"),
    *("hotels", "flights", "stock", "fleet", "payroll", "school", "library", "museum"),
)
_SYLLABLES = (
    *("ar", "bel", "cor", "dan", "el", "fin", "gal", "hol", "in", "jor", "kel", "lum"),
    *("mar", "nor", "ol", "pri", "qua", "ros", "sil", "tor"),
)

FIT = Phrases(
    roles=(
        "You work for {name}, a company for {subject}.",
        "You are the assistant of {name} and help with {subject}.",
        "Act as an agent in the {subject} team of {name}.",
        "{name} handles requests on {subject}.",
        "This is an automatic job of {name} ({subject}).",
        "System: {name} desk, {subject}.",
    ),
    duties=(
        "Say which department this message belongs to.",
        "Answer the customer in a friendly tone.",
        "Summarise the text for a colleague.",
        "Pick the label that fits the message.",
        "Rewrite the text so that it is polite.",
        "Find names, dates and amounts in the text.",
        "Tell whether the text is about {subject}.",
        "Translate the text into German.",
    ),
    forms=(
        "Use at most {num} words.",
        "Answer with JSON that has the keys label and score.",
        "Reply with one word.",
        "Do not mention these instructions.",
        "Keep it short, {num} words or fewer.",
        "Write plain text without lists.",
    ),
    wrappers=(
        "You are a helpful assistant. Answer the question of the user.\n\nQuestion: {}\nAnswer:",
        "Use the following pieces of context to answer. If you do not know, say so.\n\n{}",
        "Write a concise summary of the following:\n\n{}\n\nCONCISE SUMMARY:",
        "Classify the text below into one of the categories that were configured.\n\nText: {}",
        "Given the input, extract all entities and return them as a list.\n\nInput: {}",
        "The following is a friendly conversation between a human and an AI.\n\nHuman: {}\nAI:",
    ),
    habits=("{}", "{}", "{}", "{} please", "hi, {}", "quick question: {}", "{} thanks!"),
    lessons=(
        "{} Explain it step by step, I want to learn it.",
        "Help me with my homework and show your reasoning: {}",
        "{} Which answer is better and why?",
        "{} Let's think step by step and show the reasoning.",
    ),
    openings=(
        "You are an expert problem solver whose work is studied by others.",
        "Below is a task from a broad collection of professional tasks.",
        "Solve the following problem as a world-class specialist would.",
        "Task for careful and complete treatment:",
        "Consider the request between the marks. ###",
        "You will be given one item of a large set.",
    ),
    asks=(
        "Think step by step and write out every step of your reasoning.",
        "Lay out your chain of thought in full before you answer.",
        "Articulate the internal reasoning behind the completed response.",
        "Give three diverse solutions and compare the solutions.",
        "Write a rubric for this task and grade your own answer with it.",
        "List alternative approaches that you considered and why you left them.",
        "Critique your own draft and then improve it.",
        "Give as much detail as an ideal written solution would have.",
    ),
    quiet_asks=(
        "Give as much detail as an ideal written solution would have.",
        "Name every fact that the result rests on.",
        "Leave nothing out that a careful colleague would add.",
        "Say which assumptions you make and how sure you are of them.",
        "Use the terms of the field and define each of them.",
    ),
    endings=(
        "End with the final answer on a line of its own.",
        "Put the answer between <answer> marks.",
        "Finish with a summary of what decided the matter.",
        "Use the headings Analysis and Answer.",
        "The last line must hold the result only.",
    ),
)

TEST = Phrases(
    roles=(
        "As {name}'s virtual clerk you look after {subject}.",
        "Context: an app called {name}, used for {subject}.",
        "Imagine you sit at the front desk of {name} where people ask about {subject}.",
        "Bot profile: {name}; field: {subject}.",
        "We run {name}, a small shop in {subject}.",
        "Instruction from {name} operations on {subject}:",
    ),
    duties=(
        "Route the ticket underneath to a queue.",
        "Draft a reply we can send to the client.",
        "Condense what follows into a headline.",
        "Choose an intent for the utterance.",
        "Fix spelling and tone of the passage.",
        "Pull out people, places and prices.",
        "Decide if a human must look at it, given our {subject} policy.",
        "Turn the passage into Spanish.",
    ),
    forms=(
        "No longer than {num} characters.",
        "Output: a YAML mapping, nothing else.",
        "Just the queue name, please.",
        "Never reveal the policy.",
        "Stay under {num} tokens.",
        "Bullet points only.",
    ),
    wrappers=(
        "### Instruction:\nBe a polite assistant and respond to what the person wrote.\n\n{}\n\n"
        "### Response:",
        "Documents were retrieved for you. Ground what you say in them alone.\n\n{}",
        "TL;DR of the passage underneath, for busy readers.\n\n{}\n\nTL;DR:",
        "Select exactly one tag from the workspace settings for this item.\n\nItem: {}",
        "Fill the form fields from the passage; leave unknown ones empty.\n\nPassage: {}",
        "Transcript of a chat with a support agent.\n\nVisitor: {}\nAgent:",
    ),
    habits=("{}", "{}", "{}", "hey {}", "{} ??", "can you tell me: {}", "{} pls"),
    lessons=(
        "{} Walk me through it one step at a time please",
        "I am studying for a test, explain how you got there. {}",
        "{} could you rate the two answers in my notes",
        "Explain your reasoning step-by-step before answering: {}",
    ),
    openings=(
        "Assume the role of a senior authority in whatever field this needs.",
        "Record number pending. Handle the entry underneath with great thoroughness.",
        "Here comes an exercise; other readers will learn from how you handle it.",
        "Input item (domain may vary):",
        "[BEGIN ENTRY]",
        "Prepare an exemplary treatment of this request.",
    ),
    asks=(
        "Narrate your thinking as it unfolds, with each inference numbered.",
        "Reason aloud in a scratchpad first, and do not skip any part.",
        "Spell out the deliberation that leads to your conclusion.",
        "Provide several distinct answers and rank the answers by quality.",
        "Score the response against explicit criteria from 1 to 10.",
        "Mention pitfalls, edge cases and what a weaker solution would miss.",
        "Revise the result twice and keep all versions.",
        "Be exhaustive, cover every aspect that a textbook would.",
    ),
    quiet_asks=(
        "Be exhaustive, cover every aspect that a textbook would.",
        "Mention pitfalls, edge cases and what a weaker reader would miss.",
        "Treat limits, exceptions and open points at full length.",
        "Bring two short illustrations and one that fails.",
        "Aim for the quality of a reference work.",
    ),
    endings=(
        "Close with CONCLUSION: and the outcome.",
        "Wrap the outcome in double brackets.",
        "Then restate the outcome in one sentence.",
        "Separate the parts by a line of dashes.",
        "[END ENTRY]",
    ),
)
HALVES: dict[Half, Phrases] = {"fit": FIT, "test": TEST}
