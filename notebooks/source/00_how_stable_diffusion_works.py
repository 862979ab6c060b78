# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How Stable Diffusion works
#
# > *an orange cat standing on a red castle*
#
# In this chapter a computer reads that sentence and paints it. Nothing is hidden: you will see every
# number on the way from the words to the picture.
#
# | | |
# |---|---|
# | **You will see** | a sentence become numbers, a picture appear step by step, a rough sketch become a clean one |
# | **You need** | a little Python; plus, minus and times (and one root, which you may skip) |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · A picture in the first minute
#
# Load the model, say what you want, look.

# %%
import sdlearn
from sdlearn import viz

PROMPT = "an orange cat standing on a red castle"
SEED = 7

pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
first = pipe.txt2img(PROMPT, seed=SEED)
viz.strip({"": first.images}, zoom=2.5, alt="A drawing: an orange cat stands on a red castle.")

# %% [markdown]
# This picture was computed just now. A cat, a castle, orange, red, "on": section 8 counts how often all of
# it comes out right.
#
# The model is a small one, and it knows a small world. It has only ever seen drawings of these things, in
# these colours:

# %%
import time

import numpy as np
import torch
from PIL import Image, ImageDraw

from sdlearn.image import to_tensor
from sdlearn.plan import get_sampler, make_plan
from sdlearn.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    Oracle,
    Scene,
    Thing,
    arrange,
    render,
    sample_scene,
    score,
)

print("things: ", ", ".join(KINDS))
print("colours:", ", ".join(COLOURS))
print(f"drawn in {len(first.steps)} steps")

# %% [markdown]
# It is built like the large Stable Diffusion, part for part; only the sizes differ (Rombach et al. 2022).
#
# ### Guess before you read on
#
# The picture was drawn in 25 steps. **What was on the sheet before the first step?**
#
# * **A**: nothing. A blank sheet.
# * **B**: a similar, finished picture.
# * **C**: noise. Random specks, like on a television without an aerial.
#
# Choose one. Then let us try all three.

# %%
generator = torch.Generator().manual_seed(SEED)
noise = torch.randn(first.latents.shape, generator=generator)
white = pipe.encode_image(to_tensor(Image.new("RGB", (128, 128), "white")), torch.zeros_like(noise))
starts = {"A: blank": white, "B: a finished picture": first.latents, "C: noise": noise}

begun = pipe.decode(torch.cat(list(starts.values())))
ended = [pipe.txt2img(PROMPT, latents=start).images[0] for start in starts.values()]
viz.strip(
    {"before the first step": begun, "after the last step": ended},
    list(starts),
    zoom=1.2,
    alt="Upper row: a blank sheet, the finished picture from above, blurred blobs. Lower row: what the model "
    "makes of each. Only the noise became the cat on the castle.",
)
print("the picture from C is the one above:", np.array_equal(ended[2], first.images[0]))

# %% [markdown]
# The answer is C. (Decoded into pixels, the specks look like blobs.)
#
# The model has learnt one single thing: to look at a noisy picture and to say *which part of it is noise*
# (Ho et al. 2020). At the beginning of every drawing we tell it that the sheet is nearly all noise. For A and
# B this is not true. It removes noise that is not there, and what is left is neither blank nor the picture.
# How to begin with a picture honestly is shown further below, where we start from a sketch.
#
# So here is the whole plan. The rest of this chapter walks through it.
#
# ```
#  sentence ──► tokens ──► text vectors ──────┐      (text encoder, section 2)
#                                             ▼
#  seed ──────► noise ───► which part of it is noise? take some away   (U-Net, section 4)
#                              ▲                   │
#                              └──── ask again ◄───┤
#                                                  ▼
#                                              latents ──► picture     (decoder, section 6)
# ```

# %% [markdown]
# ## 2 · Words become numbers
#
# A network cannot read. It can only calculate. So the sentence is cut into pieces, and each piece is
# looked up in a list. The pieces are called *tokens*; their places in the list are the *ids*.

# %%
tokens = pipe.tokenizer.tokenize(PROMPT)
ids = pipe.tokenizer.encode(PROMPT)
for number, token in zip(ids[1:], tokens):  # ids[0] says: here a text begins
    print(f"{number:4d}  {token.replace('</w>', '')}")
print(f"with a start, an end and padding: {len(ids)} ids out of a list of {len(pipe.tokenizer)}")

# %% [markdown]
# An id says nothing about meaning. That "cat" and "dog" are both animals cannot be seen from two places in
# a list.
#
# So a first network, the **text encoder**, turns each token into a long row of numbers, a *vector*. It has
# learnt from captions and their pictures (Radford et al. 2021). Does it place alike things alike? Let us
# compare whole sentences, by the vector of their (end): 1 is the same direction, 0 has nothing in common.

# %%
texts = ["a cat", "a kitty", "a dog", "a boat"]
ends = [pipe.encode_prompt([text])[0, len(pipe.tokenizer.tokenize(text)) + 1] for text in texts]
for text, end in zip(texts[1:], ends[1:]):
    print(f"{texts[0]} and {text:8s} {torch.cosine_similarity(ends[0], end, dim=0):5.2f}")

# %% [markdown]
# Two words for one thing end up in the same place, although their ids have nothing to do with each other.
#
# Each line of the next figure is one token's vector. Orange is below zero, purple above.

# %%
words = pipe.encode_prompt([PROMPT])[0]  # (tokens, width)
names = ["(start)", *(token.replace("</w>", "") for token in tokens), "(end)", "(padding)", "(padding)"]
print(f"{words.shape[0]} vectors of {words.shape[1]} numbers; the first {len(names)} of them:")
viz.vectors(
    words[: len(names)],
    names,
    alt="A striped table of orange and purple: one row a token, from start to padding, one column a number. "
    "Neighbouring rows share some stripes.",
)

# %% [markdown]
# **Guess:** we change one word, *orange* into *blue*. How many of these lines change?

# %%
other = pipe.encode_prompt([PROMPT.replace("orange", "blue")])[0]
changed = ((words - other).abs().amax(dim=1) > 1e-5).sum()
print(f"{changed} of {len(words)} vectors changed")
viz.vectors(
    (words - other)[: len(names)],
    names,
    title="the difference that one word makes",
    alt="The same table for the difference of the two sentences. The rows before the changed word are white: "
    "nothing changed. The changed word's row and all rows after it are coloured.",
)

# %% [markdown]
# Not one, and not all. The encoder reads from left to right. What comes before the changed word, (start) and
# "an", cannot know of it. Everything after it does, even the padding.
#
# This is why the line of "cat" can say "and this cat is orange", although the word "cat" is the same in
# both sentences. It is also why the castle's line has heard of an orange: models do mix up colours.

# %% [markdown]
# ## 3 · A seed becomes noise
#
# Now the other side of the plan. A *seed* is any whole number. It starts a random generator, and the
# generator fills a small sheet with noise.
#
# How small? The model does not work on pixels. It works on **latents**: a sheet with fewer places, and
# four numbers at each, its four *channels*. The upper row shows our starting noise, the lower row the
# latents of the finished picture. We want to travel from the upper row to the lower one.

# %%
pixels = np.asarray(first.images[0])
print(f"latents: {tuple(noise.shape[1:])}, {noise.numel():6,d} numbers")
print(f"pixels:  {pixels.shape}, {pixels.size:6,d} numbers, {pixels.size // noise.numel()} times as many")
viz.heat_maps(
    {f"the noise of seed {SEED}": noise[0], "the latents of the finished picture": first.latents[0]},
    alt="Two rows of four square maps, one a channel. Upper row: random specks. Lower row: areas and "
    "edges; the outline of a thing can be made out.",
)

# %% [markdown]
# Look at the lower row for a moment. It is hardly readable, but it is no noise: there are areas and edges.
# A small picture of a picture.
#
# Working on so many fewer numbers makes every step much cheaper. It is the L in "LDM",
# latent diffusion models, the family that Stable Diffusion belongs to (Rombach et al. 2022).

# %% [markdown]
# ## 4 · Noise becomes a picture
#
# A second network, the **U-Net**, now gets three things: the noisy latents, the text vectors, and how noisy
# it still is. It answers with one thing: the noise that it sees.
#
# How noisy it is, is one number, called σ (sigma): latents = picture + σ · noise. A rule that chooses the next
# smaller σ and takes the step is called a *sampler*.
#
# Take the noise away, and what is left is the picture that the network *believes* in. At first this belief
# is poor. So we do not trust it: we remove only a part of the noise, and ask again. (The belief that is shown
# here is a little exaggerated on purpose. Section 9 explains why.)
#
# The run from the beginning of this chapter has kept all its steps. Here are some of them.

# %%
shown = first.steps[::6]
noisy = torch.cat([pipe.schedule.to_vp(step.x, step.sigma) for step in shown])
belief = torch.cat([step.pred.x0 for step in shown])
viz.strip(
    {
        "the latents (three of the four channels, as colours)": viz.false_colours(noisy),
        "the same latents, decoded into pixels": pipe.decode(noisy),
        "what the network believes the picture to be": pipe.decode(belief),
    },
    [f"step {step.i + 1}" for step in shown],
    zoom=1.1,
    alt="A film strip. In the upper rows noise slowly gives way to the picture. In the lowest row the "
    "belief begins as blurred patches of colour and is nearly finished half-way.",
)

# %% [markdown]
# Compare the lower two rows. In the first step the latents look like pure noise to us, and the network
# already has an opinion: patches of colour. The large shapes come first, the small ones last. (The decoder has
# never seen noisy latents in its training; what it makes of them is a help for our eyes, no more.)
#
# Here is that opinion at every single step.

# %%
beliefs = pipe.decode(torch.cat([step.pred.x0 for step in first.steps]))
rows = {
    f"steps {k + 1} to {k + len(beliefs[k : k + 7])}": beliefs[k : k + 7] for k in range(0, len(beliefs), 7)
}
viz.strip(
    rows,
    zoom=0.85,
    alt="The belief at all steps: blurred patches of colour at first, then shapes, then the cat on the castle, "
    "which hardly changes any more.",
)

# %% [markdown]
# Now take the run into your own hands: move the slider, or press play. The upper row shows the latents and the belief,
# the lower row the noise that the network sees: with your sentence, without it, and the difference of the two.
# (Where no kernel is running, only a line of text is left of it. The two strips above show the same run.)
#
# **Look for this:** At which step do you first know that it is a cat? At which step do the latents themselves, on
# the left, show it too? And where on the sheet does the sentence make a difference?

# %%
from sdlearn.viz import widgets

widgets.run_explorer(first, pipe=pipe)

# %%
answer = first.steps[0].pred
share = 100 * (answer.eps_cond - answer.eps_uncond).std() / answer.eps_cond.std()
print(f"in the first step the difference is {share:.0f} % as strong as the noise")

# %% [markdown]
# The two noises look the same. The sentence changes only a little of the answer, and mostly in the middle, where the
# cat and the castle are going to be. Section 9 makes more of this little.

# %% [markdown]
# ## 5 · The sculptor
#
# An old saying has it that the statue is already in the block of marble. The sculptor only removes what
# does not belong to it. People like to explain diffusion in this way. Is it true? We have recorded every
# stroke of the chisel, so we can check.
#
# A *chip* is what one step removes: the latents before the step, minus the latents after it.

# %%
block, statue = first.steps[0].x, first.steps[-1].x_next
chips = [step.x - step.x_next for step in first.steps]
print(f"the block is the noise of section 3, made louder: {block.std() / noise.std():.1f} times")
print(f"the first chip has a strength of {chips[0].std():.2f}, the last one of {chips[-1].std():.2f}")
shavings = torch.cat([chips[step.i] / chips[step.i].std() for step in shown])
viz.strip(
    {"the chip of a step (as colours, made equally strong)": viz.false_colours(shavings)},
    [f"step {step.i + 1}" for step in shown],
    zoom=1,
    alt="What each step removes: noise in every step, and much the same noise.",
)

# %% [markdown]
# The block minus all chips is the statue; that must be so. The question is *what* the chips look like. They
# look like noise.
#
# Let us measure it. Two sheets of numbers *resemble* each other by 1 if they show the same pattern, and by
# 0 if they have nothing to do with each other (this is their correlation).


# %%
def resemblance(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


removed = [resemblance(chip, noise) for chip in chips]
believed = [resemblance(step.pred.x0, statue) for step in first.steps]
viz.curves(
    {"resemblance": {"chip and starting noise": removed, "belief and finished picture": believed}},
    [step.i + 1 for step in first.steps],
    "step",
    alt="Two curves over the steps. The chips resemble the starting noise nearly perfectly at first, a little "
    "less later. The belief resembles the finished picture more and more, up to 1.",
)

# %% [markdown]
# The first half of the saying holds. What is chipped off is mostly the very noise that we started with,
# and what remains is the picture. (The last belief *is* the picture, so the second line must end at 1. How
# early it comes near is the news.)
#
# The second half does not. "The statue is in the block" would mean that the block decides. So give four
# sculptors the *same* block and different words.

# %%
prompts = [PROMPT, "a white house on the beach", "a yellow star at night", "a green tree at night"]
same_block = pipe.txt2img(prompts, seed=[SEED] * len(prompts))
viz.strip(
    {"four sentences, one and the same starting noise": same_block.images},
    prompts,
    zoom=1.5,
    alt="Four pictures from the same noise, as different as the sentences above them.",
)

# %% [markdown]
# One block, four statues. The words decide on what is there.

# %% [markdown]
# ## 6 · Latents become pixels
#
# The last network, the **decoder**, turns the finished latents into pixels. It belongs to an
# *autoencoder*: a pair of networks that has learnt to squeeze pictures into latents and to unfold them
# again. It knows nothing of words. In a normal run it works once, at the end; we have called it often, only to
# look.
#
# That makes three networks. This is what they weigh, beside those of the large Stable Diffusion 1.5 (their
# published sizes):

# %%
large = {"text encoder": 123.1, "U-Net": 859.5, "autoencoder": 83.7}
networks = {"text encoder": pipe.text_encoder, "U-Net": pipe.unet, "autoencoder": pipe.vae}
for name, network in networks.items():
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(
        f"{name:13s} {millions:5.1f} million numbers, learnt from examples; large: {large[name]:.1f} million"
    )

# %% [markdown]
# ## 7 · What does a seed decide?
#
# There is chance in the starting noise, and nowhere else in this run. **Guess:** what happens if you draw
# with the same seed again? And with another?

# %%
again = pipe.txt2img(PROMPT, seed=SEED)
print("same seed, every pixel equal:", np.array_equal(first.images[0], again.images[0]))

seeds = [1, 5, 7, 100, 101, 102]
others = pipe.txt2img(PROMPT, num_images_per_prompt=len(seeds), seed=seeds)
viz.strip(
    {"": others.images},
    [f"seed {seed}" for seed in seeds],
    zoom=1,
    alt="Six different pictures for one sentence: other places, other backgrounds.",
)

# %% [markdown]
# The same seed gives the same picture, bit for bit on one machine. (Another processor or another version of
# PyTorch may change the last digits.) Another seed gives another picture: the noise decides on what the words
# leave open, such as where things stand and what is behind them. Keep model, seed and settings of a picture
# you like, and you can draw it again.

# %% [markdown]
# ## 8 · Are more steps better?
#
# The network runs in every step. Each step costs the same, on top of a fixed price for reading the text and for
# decoding. Do more steps also make a better picture?
#
# "Better" needs a judge. This project has one, the *oracle*: a small network that reads a picture back and
# says which things it sees, in which colours, and how they stand to each other. Our sentence states five facts:
# a cat, a castle, the colour of each, and one *on* the other. We count how many of them are right.
#
# Who judges the judge? First let it read true drawings: some of this very scene, where everything should be
# right, and some of any scene, where a fact is right by luck.

# %%
oracle = Oracle.load()
asked = Scene((Thing("cat", "orange"), Thing("castle", "red")), relation="on", names_background=False)


def facts_right(images):
    readings = oracle.read(np.stack([np.asarray(image) for image in images]))
    scores = [score(reading, asked) for reading in readings]
    return 100 * np.mean([(*one.objects, *one.colours, one.relation) for one in scores])  # in percent


rng = np.random.default_rng(0)
of_the_sentence = [arrange(asked.things, "on", BACKGROUNDS[k % 4], rng) for k in range(100)]
of_anything = [sample_scene(rng) for _ in range(100)]
for name, drawn in {"of the sentence": of_the_sentence, "of anything": of_anything}.items():
    print(
        f"true drawings {name:16s} {facts_right([render(scene) for scene in drawn]):3.0f} % of the facts are right"
    )

# %%
counts, seconds, right, examples = [1, 2, 3, 5, 10, 25], [], [], []
pipe.txt2img(PROMPT, num_inference_steps=1, num_images_per_prompt=16)  # the first call of a kind is slower
for count in counts:
    begin = time.perf_counter()
    out = pipe.txt2img(PROMPT, num_inference_steps=count, num_images_per_prompt=16, seed=100)
    seconds.append((time.perf_counter() - begin) / len(out.images))
    right.append(facts_right(out.images))
    examples.append(out.images[0])
    print(
        f"steps: {count:2d}   {seconds[-1]:.2f} seconds a picture, {right[-1]:3.0f} % of the facts are right"
    )
viz.strip(
    {"the same seed": examples},
    [f"steps: {count}" for count in counts],
    zoom=1,
    alt="One seed with more and more steps: a blur after one step, then a rough shape, then a clean picture "
    "that no longer changes much.",
)

# %%
viz.curves(
    {"seconds a picture": {"": seconds}, "facts that are right, in percent, of 16 pictures": {"": right}},
    counts,
    "steps",
    alt="Left: the time a picture, of 16 drawn together, rises about evenly with the number of steps. Right: the share "
    "of right facts rises steeply at first and then levels off.",
)

# %% [markdown]
# One step is not enough: the network's first belief is a blur. With more steps more of the facts come right,
# and each one costs the same. (Is it odd that a blur has any facts right? The oracle must always answer, and a blot
# of orange on a blot of red is enough to guess from.)

# %% [markdown]
# ## 9 · How closely should it listen?
#
# In each step the network can be asked *twice*: once with your sentence, once with an empty one. The
# difference between the two answers is what the sentence changes. We take that difference and exaggerate
# it:
#
# $$\text{noise} = \text{answer without} + s \cdot (\text{answer with} - \text{answer without})$$
#
# The number $s$ is the *guidance scale* (Ho and Salimans 2022). **Guess:** what is drawn when $s$ is zero?

# %%
scales, right, examples = [0, 1, 3, 7.5, 15], [], []
for scale in scales:
    out = pipe.txt2img(
        PROMPT, guidance_scale=scale, num_inference_steps=15, num_images_per_prompt=16, seed=100
    )
    right.append(facts_right(out.images))
    examples.append(out.images)
    print(f"guidance {scale:>4}: {right[-1]:3.0f} % of the facts are right")
viz.strip(
    {f"seed {100 + k}": [images[k] for images in examples] for k in range(3)},
    [f"guidance {scale}" for scale in scales],
    zoom=1,
    alt="Three seeds, five guidance scales. At zero: arbitrary things in arbitrary colours. Higher up: more "
    "and more orange and red, and what the sentence names. At the highest the colours are harsh.",
)

# %% [markdown]
# At zero the sentence falls out of the formula. The model draws *something* from its world and does not
# care what you said. That can be checked to the last pixel:

# %%
unheard = pipe.txt2img("a blue dog in the snow", guidance_scale=0, seed=SEED)
unheard_too = pipe.txt2img(PROMPT, guidance_scale=0, seed=SEED)
print(
    "two sentences, guidance 0, every pixel equal:", np.array_equal(unheard.images[0], unheard_too.images[0])
)

# %% [markdown]
# At 1 the formula is the plain answer with the sentence. From 1 to 7.5 the count hardly moves here: this small model
# listens well already. For Stable Diffusion 7.5 is usual, and this is why it is the default here. At 15 the colours get
# harsh, and facts are lost. The beliefs of section 4 were exaggerated in just this way.

# %% [markdown]
# ## 10 · Who decides on the size?
#
# **Guess:** how do you get a wide picture? Perhaps by asking for one:

# %%
asked_for = pipe.txt2img("a very wide picture of " + PROMPT, seed=SEED).images[0]
print(f"asked for in words: still {asked_for.width} x {asked_for.height} pixels")

# %% [markdown]
# Then let us change the sheet of noise.

# %%
sheets = [(16, 16), (16, 24), (16, 32), (24, 16)]
results = [
    pipe.txt2img(PROMPT, latents=torch.randn(1, 4, *sheet, generator=torch.Generator().manual_seed(SEED)))
    for sheet in sheets
]
pictures = [result.images[0] for result in results]
titles = [f"{h} high, {w} wide" for h, w in sheets]
print("sizes of the pictures:", ", ".join(f"{one.width} x {one.height}" for one in pictures))
viz.strip(
    {"the sheet of noise, and what came of it": pictures},
    titles,
    zoom=1.1,
    alt="Four pictures of different shape: square, wide, very wide, tall. Their shape is that of the noise.",
)

# %% [markdown]
# The words do not matter. The picture has eight pixels for each place of the noise, along each side,
# whatever the noise's shape.
#
# But look closely at the large ones. The model has learnt from square pictures only. With more room than it
# knows, it repeats its subject. Large models do the same.

# %% [markdown]
# ## 11 · Start from a sketch
#
# Now for the best part. What if we do not start from pure noise, but from *a picture with noise on it*?
#
# Here is a rough sketch: some sky, some ground, one blob on top of another, on the left. Once in grey,
# once in colour.


# %%
def sketch(paper, ground, lower, upper):
    sheet = Image.new("RGB", (128, 128), paper)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 88, 128, 128), fill=ground)
    draw.rectangle((16, 66, 72, 112), fill=lower)
    draw.ellipse((24, 22, 64, 68), fill=upper)
    return sheet


grey = sketch("#c8c8c8", "#969696", "#5a5a5a", "#787878")
coloured = sketch("#9fd3f5", "#7fbf5f", "#d82c2c", "#f68a1c")
there_and_back = pipe.decode(pipe.encode_image(to_tensor([grey, coloured]), torch.zeros(2, 4, 16, 16)))
viz.strip(
    {"the sketches": [grey, coloured], "after the autoencoder alone": there_and_back},
    ["grey", "coloured"],
    zoom=1,
    alt="Two sketches of the same shapes, left of the middle: an oval on top of a square. One in greys, one "
    "with an orange oval on a red square, green ground and a blue sky. Below, after the autoencoder: the "
    "coloured one is nearly the same, the grey one has got colours.",
)

# %% [markdown]
# The lower row shows the sketches squeezed into latents and unfolded again, nothing else. The coloured one
# survives. The grey one does not: there is hardly any grey in the small world, so the autoencoder has never
# learnt to keep it. A network knows what it has seen.
#
# The sketch is encoded into latents. Noise is added. Then the last steps run as always, with our sentence.
# The *strength* says how much noise is added, and so how many of the steps are left to run (Meng et al.
# 2022).

# %%
strengths = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0]


def redraw(image, strength):
    out = pipe.img2img(image, PROMPT, strength=strength, num_inference_steps=20, seed=SEED)
    return out.images[0]


from_grey = [redraw(grey, strength) for strength in strengths]
from_coloured = [redraw(coloured, strength) for strength in strengths]
viz.strip(
    {"from the grey sketch": from_grey, "from the coloured sketch": from_coloured},
    [f"strength {strength}" for strength in strengths],
    zoom=0.9,
    alt="Two rows of seven pictures: blobs with a face at strength 0.1, then a cat on a castle in the place of "
    "the blobs. At the end both rows show much the same picture.",
)

# %% [markdown]
# Read the rows from left to right. Even a little noise is enough for the network to see a cat and a castle in
# the blobs, and it paints them *where the blobs are*. (This model knows so few things that a blob can only be
# one of them.) With more noise it takes more liberties. With strength 1
# little of the sketch is left, and both rows end with much the same picture. It is text to image,
# though not the picture of section 1: the autoencoder has used the seed's first sheet of noise, and this run
# starts from its second.


# %%
def difference(a, b):
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean() / 255 * 100)


from_sketch = [difference(coloured, image) for image in from_coloured]
between_rows = [difference(a, b) for a, b in zip(from_grey, from_coloured)]
print(f"coloured sketch and its result differ by {from_sketch[0]:.1f} % at strength {strengths[0]}")
for k in (4, 6):
    print(f"the two rows differ by {between_rows[k]:.1f} % at strength {strengths[k]}")
viz.curves(
    {
        "mean difference of the pixels, in percent": {
            "to the sketch": from_sketch,
            "between the rows": between_rows,
        }
    },
    strengths,
    "strength",
    alt="The difference to the sketch rises with the strength. The difference between the two rows goes up and down, "
    "and is not gone at strength 1.",
)

# %% [markdown]
# Two sketches, one seed: the rows can differ much where the noise is strong enough to move things, and a trace is left
# even at 1. The last noise level is high, but not infinite. Chapter 01 measures how much of a picture survives it.

# %% [markdown]
# Are the cat and the castle really where the blobs were? Give each pixel to the nearest of a few colours, and
# look for the middle of all orange ones and of all red ones, first in the sketch, then in the redrawn pictures
# (12 seeds each), and without any sketch for comparison.

# %%
palette = np.array(
    [(246, 138, 28), (216, 44, 44), (159, 211, 245), (127, 191, 95), (255, 255, 255), (30, 36, 80)]
)


def middles(images):
    """Mean (x, y) of the orange and of the red pixels of several pictures."""
    pixels = np.stack([np.asarray(image, dtype=float) for image in images])  # (n, 128, 128, 3)
    nearest = ((pixels[..., None, :] - palette) ** 2).sum(axis=-1).argmin(axis=-1)  # (n, 128, 128)
    places = [np.nonzero(nearest == colour) for colour in (0, 1)]
    return "   ".join(f"{x.mean():3.0f}, {y.mean():3.0f}" for _, y, x in places)


same = dict(num_inference_steps=20, num_images_per_prompt=12, seed=200)
from_nothing = pipe.txt2img(PROMPT, **same).images
redrawn = {
    strength: pipe.img2img(grey, PROMPT, strength=strength, **same).images
    for strength in (0.1, 0.3, 0.6, 0.9)
}
print("                    orange      red")
print(f"coloured sketch     {middles([coloured])}")
for strength, images in redrawn.items():
    print(
        f"grey, strength {strength}  {middles(images)}   {facts_right(images):3.0f} % of the facts are right"
    )
print(f"no sketch           {middles(from_nothing)}   {facts_right(from_nothing):3.0f} %")
viz.strip(
    {f"from the grey sketch, strength {strength}": images[:5] for strength, images in redrawn.items()},
    zoom=1,
    alt="Four rows of pictures from the grey sketch, with rising strength: the cat on the castle, on the left "
    "like the blobs.",
)

# %% [markdown]
# Read the columns from the bottom: without a sketch cat and castle stand wherever the noise wants them, about the
# middle on average. The lower the strength, the nearer they are to the blobs. With little noise fewer of the facts
# come right than with much: only a few steps are left to turn grey blobs into a cat. That is the bargain of image to
# image.

# %% [markdown]
# ## 12 · All of it on one screen
#
# Everything above with the three networks and one loop. We take the simplest sampler, Euler's: *picture + σ ·
# noise* becomes *picture + next σ · noise*, so we add (next σ − σ) · noise. One line is left for the next
# chapter: the division that keeps the numbers at the size that the network knows.


# %%
@torch.no_grad()
def draw(prompt, seed, steps=25, scale=7.5):
    vectors = pipe.encode_prompt(["", prompt])  # 1. words become vectors: (2, tokens, width)
    plan = make_plan(get_sampler("euler"), pipe.schedule, steps)  # how noisy it should be, step by step
    x = plan.start * torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))  # 2. a seed
    for t, sigma, sigma_next in zip(plan.timesteps, plan.sigmas, plan.sigmas[1:]):  # 3. remove the noise
        x_in = torch.cat([x, x]) / (sigma**2 + 1) ** 0.5  # (2, 4, 16, 16), at the size the network knows
        without, with_prompt = pipe.unet(x_in, torch.tensor([t, t]), vectors).chunk(2)
        eps = without + scale * (with_prompt - without)
        x = x + (sigma_next - sigma) * eps
    return pipe.decode(x)[0]  # 4. latents become pixels


ours, theirs = draw(PROMPT, SEED), pipe.txt2img(PROMPT, seed=SEED, sampler="euler").images[0]
print("largest difference of a pixel, of 255:", np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max())
viz.strip(
    {"": [ours, theirs]},
    ["our loop", "the pipeline"],
    zoom=1.7,
    alt="Two equal pictures: from our own loop and from the pipeline.",
)

# %% [markdown]
# At every scale and with every seed these lines and the package draw the same picture.
#
# The following chapters open one part after the other: the noise, the U-Net, the samplers, the
# autoencoder, the tokenizer, the text encoder, attention, guidance. You will build each of them yourself,
# put it in the place of the one used here, and see this picture again.

# %% [markdown]
# ## 13 · Spot the bug
#
# A friend wants a choice: whoever gives a seed gets the picture of that seed, whoever gives none is surprised. The
# friend's function works, and was in use for months. We draw with three seeds, and then with the same three again:


# %%
def draw_or_surprise(prompt, seed=None):
    generator = torch.Generator()
    if seed:
        generator.manual_seed(seed)
    else:
        generator.seed()  # takes a fresh one from the computer
    noise = torch.randn(1, 4, 16, 16, generator=generator)
    return pipe.txt2img(prompt, latents=noise, num_inference_steps=15).images[0]


two_times = [[draw_or_surprise(PROMPT, seed) for seed in range(3)] for _ in range(2)]
for seed, (once, again) in enumerate(zip(*two_times)):
    print(f"seed {seed}: the same picture twice?", np.array_equal(once, again))
viz.strip(
    {"the first time": two_times[0], "the second time": two_times[1]},
    [f"seed {seed}" for seed in range(3)],
    zoom=1,
    alt="Two rows of three pictures. With the seeds 1 and 2 the lower picture is the upper one, with seed 0 it is "
    "another one.",
)

# %% [markdown]
# **Which line is wrong, and how is it mended?** The answer is in section 16.

# %% [markdown]
# ## 14 · Play
#
# Change the line below, run the cell, look. Make a guess each time *before* you run it.
#
# 1. **No colour.** Draw "a cat" with six seeds. Which colour are most of the cats? You did not ask for it.
#    Where does it come from?
# 2. **Swap.** Draw "a red castle standing on an orange cat". Do the words' places matter?
# 3. **A stranger.** Draw "a teapot". The model has never seen one. What does it do with a word it does not
#    know?
# 4. **Forbid something.** `pipe.txt2img("a cat", negative_prompt="a cat at night")`: the second text takes the
#    place of the empty sentence of section 9. What is drawn less often?
# 5. **Your own sketch.** Put the blobs elsewhere in `sketch`. How far can you raise the strength until
#    they are ignored?

# %%
tries = pipe.txt2img("a cat", num_images_per_prompt=6, num_inference_steps=15, seed=0)
viz.strip(
    {"": tries.images}, zoom=1, alt="Six pictures drawn from the reader's own sentence, at first: a cat."
)

# %% [markdown]
# ## 15 · Exercises
#
# Put your answer in the place of the three dots and run the cell. `check` says whether it is right, and if not, what
# you may have been thinking.
#
# **00.1** You ask for 25 steps with guidance 7.5. How many times is the U-Net asked for an answer? (Two questions
# in one call count as two.)

# %%
from sdlearn.exercises import check

answer = ...
check("00.1", answer)

# %% [markdown]
# **00.2** Write the formula of section 9 as a function. `without` and `with_prompt` are the two answers, `scale` is the
# guidance scale.


# %%
def guided(without, with_prompt, scale):
    return ...


check("00.2", guided)

# %% [markdown]
# **00.3** The large Stable Diffusion draws 512 x 512 pixels of three colours from latents of 64 x 64 places with four
# channels. How many times fewer numbers are these?

# %%
answer = ...
check("00.3", answer)

# %% [markdown]
# **00.4** You want a picture 192 pixels wide and 128 pixels tall from *this* model. What shape must the sheet of noise
# have, as (batch, channels, height, width)?

# %%
answer = (1, 4, ..., ...)
check("00.4", answer)

# %% [markdown]
# **00.5** A sketch is redrawn with `strength=0.3` and 20 steps. How many steps does the U-Net run?

# %%
answer = ...
check("00.5", answer)

# %% [markdown]
# **00.6** The heart of the loop of section 12: the sheet `x` holds *picture + sigma · noise*, and the network has told
# the noise, `eps`. Return the sheet with as much noise as `sigma_next` says.


# %%
def step(x, eps, sigma, sigma_next):
    return ...


check("00.6", step)

# %% [markdown]
# ## 16 · The bug of section 13
#
# To Python, `if seed:` asks whether the seed is *something*, and zero counts as nothing. Zero is a seed like any
# other. The line must ask `if seed is not None:`. This mistake is a real one. It stood in InvokeAI
# ([issue 875](https://github.com/invoke-ai/InvokeAI/issues/875), in 2022) and in a script of diffusers
# ([pull request 10964](https://github.com/huggingface/diffusers/pull/10964), in 2025). No error message shows it. Only
# the pictures do.

# %% [markdown]
# ## Sources
#
# * J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models* (2020),
#   [arXiv:2006.11239](https://arxiv.org/abs/2006.11239). Predict the noise, remove some, ask again.
# * R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer: *High-Resolution Image Synthesis with Latent
#   Diffusion Models* (2022), [arXiv:2112.10752](https://arxiv.org/abs/2112.10752). Do it on latents, with
#   text: Stable Diffusion.
# * A. Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (2021),
#   [arXiv:2103.00020](https://arxiv.org/abs/2103.00020). CLIP, the text encoder.
# * J. Ho, T. Salimans: *Classifier-Free Diffusion Guidance* (2022),
#   [arXiv:2207.12598](https://arxiv.org/abs/2207.12598). Ask twice, exaggerate the difference.
# * C. Meng et al.: *SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations*
#   (2022), [arXiv:2108.01073](https://arxiv.org/abs/2108.01073). Start from a sketch.
# * C. Lu et al.: *DPM-Solver++* (2022), [arXiv:2211.01095](https://arxiv.org/abs/2211.01095). The sampler
#   that took the steps in this chapter.
