"""Chapter 13, speed: what is asked, what people take for the answer, and what to tell them."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from sdlearn.exercises.core import Exercise, Mistake

RUNS = (
    ([1.0, 2.0, 9.0, 2.2], [2.0, 1.0, 10.0, 2.0]),
    ([3.0, 4.0, 10.0], [4.0, 2.0, 8.0]),
    ([5.0, 1.0, 1.2, 1.4, 1.6], [1.0, 1.3, 1.1, 2.8, 1.5]),
)


def ask_ratio(ratio: Callable) -> list[float]:
    """Three races."""
    return [ratio(list(ours), list(theirs)) for ours, theirs in RUNS]


def ask_remembering(wrap: Callable) -> object:
    """Answers to two tensors of one shape and a copy, how often the costly function was asked; then whether tensors
    that are gone after the call, and a second function, get answers of their own."""
    asked = [0]  # how often; no tensor is kept here

    def costly(x: torch.Tensor) -> torch.Tensor:
        asked[0] += 1
        return 10 * x + asked[0] / 100  # tells the first time from the second

    one, other = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    remembering = wrap(costly)
    if not callable(remembering):
        return remembering  # nothing yet, or no function
    answers = [float(remembering(x).sum()) for x in (one, one, other, other, one, one.clone())]
    answers.append(float(asked[0]))
    gone = [float(remembering(torch.full((2,), float(k))).sum()) - 20 * k for k in range(1, 9)]
    second = wrap(lambda x: 1000 * x)
    float(remembering(other).sum())
    mixed = abs(float(second(other).sum()) - 7000) > 1
    return [*answers, float(any(abs(off) > 2 for off in gone)), float(mixed)]


def keeping_last(costly: Callable) -> Callable:
    last = [None, None]

    def ask(x: torch.Tensor) -> torch.Tensor:
        if x is not last[0]:
            last[:] = x, costly(x)
        return last[1]

    return ask


def keeping_first(costly: Callable) -> Callable:
    kept = []

    def ask(x: torch.Tensor) -> torch.Tensor:
        if not kept:
            kept.append(costly(x))
        return kept[0]

    return ask


def keeping_all(costly: Callable) -> Callable:
    kept = []

    def ask(x: torch.Tensor) -> torch.Tensor:
        for before, answer in kept:
            if before is x:
                return answer
        kept.append((x, costly(x)))
        return kept[-1][1]

    return ask


def keeping_number(costly: Callable) -> Callable:
    last = [None, None]

    def ask(x: torch.Tensor) -> torch.Tensor:
        if id(x) != last[0]:
            last[:] = id(x), costly(x)
        return last[1]

    return ask


def comparing_numbers(costly: Callable) -> Callable:
    last = [None, None]

    def ask(x: torch.Tensor) -> torch.Tensor:
        if last[0] is None or not torch.equal(x, last[0]):
            last[:] = x, costly(x)
        return last[1]

    return ask


SHARED: list = [None, None]


def keeping_in_common(costly: Callable) -> Callable:
    def ask(x: torch.Tensor) -> torch.Tensor:
        if x is not SHARED[0]:
            SHARED[:] = x, costly(x)
        return SHARED[1]

    return ask


EXERCISES = {
    "13.1": Exercise(
        start="How many numbers come out? Each is a sum of products: over which weights?",
        right=2 * 4 * 128 * 16 * 16 * 64 * 3 * 3,
        praise="Numbers that come out, times the weights of one filter, times two. What goes in does not matter.",
        mistakes=(
            Mistake(
                4 * 128 * 16 * 16 * 64 * 3 * 3,
                "You counted a multiplication with its addition as one: that is a MAC. What is a FLOP in section 2?",
            ),
            Mistake(
                2 * 128 * 16 * 16 * 64 * 3 * 3,
                "That is the work for one picture. How many does the layer get?",
            ),
            Mistake(
                2 * 4 * 128 * 32 * 32 * 64 * 3 * 3,
                "You counted the places that go in. With this stride, at how many of them is a filter put down?",
            ),
            Mistake(
                2 * 4 * 128 * 16 * 16 * 64 * 3,
                "One side of the filter is missing. Draw it: how many of its cells touch a channel?",
            ),
            Mistake(
                2 * 4 * 128 * 16 * 16 * 3 * 3,
                "Each filter looked at one channel only. What shape has `weight` of an nn.Conv2d?",
            ),
        ),
        otherwise="Take `flops_of` of section 2 apart: what is `answer.numel()` here, and `layer.weight[0].numel()`?",
        tolerance=1e-6,
    ),
    "13.2": Exercise(
        start="Which of the two lines of the roof is lower at 2 FLOPs a byte?",
        right=80.0,
        praise="The memory decides. This layer cannot use even half of the processor, whatever its code looks like.",
        mistakes=(
            Mistake(
                200.0,
                "That is the peak. Do the bytes come quickly enough for it? Find out how many a second it would need.",
            ),
            Mistake(
                20.0,
                "You divided the memory's rate by the intensity. See the units: what is FLOP / byte times byte / s?",
            ),
            Mistake(
                400.0,
                "You multiplied the peak, and are above it. Which of the two rates is multiplied by FLOPs a byte?",
            ),
            Mistake(
                5.0,
                "That is the ridge, in FLOPs a byte: where the two lines meet. On which side of it is our layer?",
            ),
        ),
        otherwise="Compute both lines of section 3's formula for this layer, and take the lower one.",
    ),
    "13.3": Exercise(
        start="What do two neighbours tell of the machine? And how does one bad pair lose its power?",
        right=lambda ours, theirs: statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        praise="Neighbours see the same machine, so it cancels in each ratio; the median forgets the bad pair.",
        mistakes=(
            Mistake(
                lambda ours, theirs: statistics.median(ours) / statistics.median(theirs),
                "You took medians first, of each rival alone: pairs are torn apart. Try a machine that slows down.",
            ),
            Mistake(
                lambda ours, theirs: statistics.fmean(a / b for a, b in zip(ours, theirs, strict=True)),
                "You took the mean of the ratios. Make one pair a hundred times worse: what does your answer do?",
            ),
            Mistake(
                lambda ours, theirs: sum(ours) / sum(theirs),
                "You compared the sums. One bad run is in one of them; how far does it pull?",
            ),
            Mistake(
                lambda ours, theirs: statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
                "Upside down: if we take half of their time, what should come out?",
            ),
            Mistake(
                lambda ours, theirs: min(ours) / min(theirs),
                "You compared the best runs. They may be hours apart; were they on the same machine?",
            ),
        ),
        otherwise="Look at `ratios` and `ratio` of `Pairs` in section 1: in which order are things done?",
        ask=ask_ratio,
    ),
    "13.4": Exercise(
        start="The first step must be a whole one: nothing is kept yet. Which is the next? Write them down.",
        right=7,
        praise="Steps 1, 5, 9, 13, 17, 21 and 25. The last one is whole here, and nobody profits from it.",
        mistakes=(
            Mistake(6, "You divided and rounded down. Count on your fingers: is the first step among them?"),
            Mistake(18, "Those are the others, that reuse. How many are left?"),
            Mistake(
                19,
                "You took the whole ones away from all; and they are one more than a division says, too.",
            ),
            Mistake(5, "An interval is from one whole step to the *next*: how many are between them?"),
        ),
        otherwise="Write down the numbers of the whole steps, beginning with the first. How far apart are they?",
    ),
    "13.5": Exercise(
        start="Let the picture take 100 seconds. How long does each part take afterwards?",
        right=2.5,
        praise="The other tenth stays, and is a quarter of the time now. However quick the U-Net, ten is the limit. "
        "(This is Amdahl's law.)",
        mistakes=(
            Mistake(3.0, "You forgot the rest of the picture. Does it become quicker, too?"),
            Mistake(
                2.7, "You took 90 % of the factor. Try it with seconds: what is left of a picture of 100 s?"
            ),
            Mistake(
                0.4,
                "That is the time that is left, as a share. How many times as quick is it?",
            ),
            Mistake(
                2.8,
                "You weighted the *factors*, 3 and 1, by their shares. Add seconds instead: factors do not add up.",
            ),
            Mistake(
                1 / (1 - 0.9 / 3),
                "You took a third of the U-Net's time away. How much is taken away if a third *remains*?",
            ),
        ),
        otherwise="New time = the rest + the U-Net's part over three. Then compare old and new.",
    ),
    "13.6": Exercise(
        start="Keep two things between the calls: which tensor was asked about last, and what the answer was.",
        right=keeping_last,
        praise="This is what `Together` does for the text's keys and values. It keeps the tensor, not only its `id`, "
        "and each wrapped function has its own memory: nobody is answered with the keys of another prompt.",
        mistakes=(
            Mistake(
                keeping_first,
                "Your function answers every tensor as it did the first. Ask it about two different ones, in turn.",
            ),
            Mistake(
                lambda costly: costly,
                "Nothing is kept: count how often `costly` is asked if you ask twice about the same tensor.",
            ),
            Mistake(
                keeping_all,
                "You keep all answers that ever were. For a run with a thousand tensors, what becomes of the memory? "
                "Only the last is asked for.",
            ),
            Mistake(
                keeping_number,
                "You keep the `id` of a tensor, but not the tensor. An `id` is given again when its tensor is gone: "
                "ask about `torch.full((2,), float(k))` for some k in a loop.",
            ),
            Mistake(
                comparing_numbers,
                "You compare the numbers. That is safe, but reads every number at every call, and a card would have to "
                "be waited for. How does Python ask whether two names are one object?",
            ),
            Mistake(
                keeping_in_common,
                "All your functions share one memory. Wrap two different ones, and ask both about the same tensor.",
            ),
        ),
        otherwise="Ask it about one tensor twice, then about another twice, then about the first. How often is "
        "`costly` asked, and are all answers right?",
        ask=ask_remembering,
    ),
}
