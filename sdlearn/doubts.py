"""What is worth a word before a drawing begins. None of it is an error, and the course does all of it on purpose:
the command line says it, Python does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from sdlearn.bpe import clean, split_words
from sdlearn.tokenizer import Tokenizer
from sdlearn.wishes import Drawing, Model

SMALL_VOCABULARY = 10_000  # tokens: CLIP's published one has 49,408, a smaller one was learnt from captions
# Steps below which 3 to 26 of 40 pictures of this model were wrong, mostly in a colour, at guidance scale 7.5; of
# euler and ddim none was wrong in 10 steps, and at scale 3 none of dpmpp_2m and unipc.
MEASURED = "scenes"
FEWEST = {"dpmpp_2m": 20, "unipc": 30, "euler_a": 20, "pndm": 50, "lms": 50}
STRONG = 5.0  # between the two scales


def unlearnt(texts: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """The words of some texts that fall into several tokens: in captions that gave a vocabulary, each word is one."""
    words = dict.fromkeys(word for text in texts for word in split_words(clean(text)) if word.isalpha())
    return [word for word in words if len(tokenizer.tokenize(word)) > 1]


def doubts(drawing: Drawing, model: Model, tokenizer: Tokenizer) -> list[str]:
    """A sentence for each wish that is likely to disappoint, of models of few words: what they know can be said."""
    wishes, found = drawing.wishes, []
    if len(tokenizer) > SMALL_VOCABULARY:
        return found
    if words := unlearnt([*drawing.prompts, *drawing.negative_prompts], tokenizer):
        known = " Those it knows: sdlearn scenes --words." if model.name == MEASURED else ""
        found.append(
            f"{model.name or 'this model'} has not learnt the words {', '.join(words)[:200]}.{known}"
        )
    side = model.sample_size * model.factor
    if (wishes.width, wishes.height) != (side, side):
        found.append(
            f"{model.name or 'this model'} has learnt pictures of {side}x{side} pixels: at "
            f"{wishes.width}x{wishes.height} things may be missing or there twice."
        )
    name, fewest = drawing.settings["sampler"], FEWEST.get(drawing.settings["sampler"], 0)
    if model.name == MEASURED and wishes.guidance_scale > STRONG and wishes.num_inference_steps < fewest:
        found.append(
            f"{name} at guidance_scale={wishes.guidance_scale:g} may miss colours in fewer than {fewest} "
            "steps: take more, a lower scale, or the sampler euler."
        )
    return found
