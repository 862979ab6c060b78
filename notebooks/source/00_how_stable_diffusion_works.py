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
# | **You will see** | a sentence become numbers, noise become a picture, a rough sketch become a clean one |
# | **You need** | a little Python; no mathematics beyond plus and times |
# | **Your time** | {reading} minutes of reading; {seconds} seconds of computing on {cores} CPU cores |
# | **Memory** | {megabytes} MB, no graphics card, no network connection |

# %% [markdown]
# ## 1 · A picture in the first minute
#
# Three lines are enough: load the model, say what you want, look.

# %%
import time

import numpy as np
import torch
from PIL import Image, ImageDraw

import sdlearn
from sdlearn import viz
from sdlearn.image import to_tensor
from sdlearn.samplers import get_sampler, make_plan
from sdlearn.scenes import COLOURS, KINDS, Oracle, Scene, Thing, score

PROMPT = "an orange cat standing on a red castle"
SEED = 7

pipe = sdlearn.StableDiffusion.from_pretrained("scenes")
first = pipe.txt2img(PROMPT, seed=SEED)
viz.strip({"": first.images}, alt="A drawn picture: an orange cat on top of a red castle, under the sky.")

# %% [markdown]
# Nobody drew this picture, and it is in no file. The model made it up just now.
#
# The model is a small one, and it knows a small world. It has only ever seen drawings of these things, in
# these colours:

# %%
print("things: ", ", ".join(KINDS))
print("colours:", ", ".join(COLOURS))
print(f"drawn in {len(first.steps)} steps")

# %% [markdown]
# It is built like the large Stable Diffusion, part for part, and uses the same code. Only the sizes differ
# (Rombach et al. 2022).
#
# ### Guess before you read on
#
# The picture was drawn in 25 steps. **What was on the sheet before the first step?**
#
# * **A**: nothing. A blank sheet.
# * **B**: a similar picture, found in the model's memory.
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
    zoom=1.5,
    alt="Upper row: a blank sheet, a finished picture of cat and castle, noise. Lower row: what the model "
    "makes of each. Only the noise becomes a clean cat on a castle.",
)

# %% [markdown]
# The answer is C, and it is the strangest thing about these models. They cannot start from nothing. They
# cannot even start from the right picture.
#
# They have learnt one single thing: to look at a noisy picture and to say *which part of it is noise* (Ho
# et al. 2020). Without noise there is nothing for them to do.
#
# So here is the whole plan. The rest of this chapter walks through it from left to right.
#
# ```
#  sentence ──► tokens ──► text vectors ───────┐
#                                              ▼
#  seed ──────► noise ───► which part is noise? take some away, ask again ──► latents ──► picture
# ```

# %% [markdown]
# ## 2 · Words become numbers
#
# A network cannot read. It can only calculate. So the sentence is cut into pieces, and each piece is
# looked up in a list. The pieces are called *tokens*; their places in the list are the *ids*.

# %%
tokens = pipe.tokenizer.tokenize(PROMPT)
ids = pipe.tokenizer.encode(PROMPT)
for number, token in zip(ids[1:], tokens):
    print(f"{number:4d}  {token.replace('</w>', '')}")
print(f"with a start, an end and padding: {len(ids)} ids out of a list of {len(pipe.tokenizer)}")

# %% [markdown]
# An id says nothing about meaning. That "cat" and "dog" are both animals cannot be seen from two places in
# a list.
#
# So a first network, the **text encoder**, turns each token into a long row of numbers, a *vector*. It has
# learnt from captions and their pictures to place alike things alike (Radford et al. 2021).
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
    "Each row has a pattern of its own.",
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
# Not one, and not all. The encoder reads from left to right. What comes before the changed word cannot
# know of it. Everything after it does.
#
# This is why the line of "cat" can say "and this cat is orange", although the word "cat" is the same in
# both sentences.

# %% [markdown]
# ## 3 · A seed becomes noise
#
# Now the other side of the plan. A *seed* is any whole number. It starts a random generator, and the
# generator fills a small sheet with noise.
#
# How small? The model does not work on pixels. It works on **latents**: a sheet with fewer places, and
# four numbers at each. The upper row shows our starting noise, the lower row the latents of the finished
# picture. We want to travel from the upper row to the lower one.

# %%
pixels = np.asarray(first.images[0])
print(f"latents: {tuple(noise.shape[1:])}, {noise.numel():6,d} numbers")
print(f"pixels:  {pixels.shape}, {pixels.size:6,d} numbers, {pixels.size // noise.numel()} times as many")
viz.heat_maps(
    {f"the noise of seed {SEED}": noise[0], "the latents of the finished picture": first.latents[0]},
    alt="Two rows of four square maps, one a channel. Upper row: random specks. Lower row: the same squares, "
    "but now the outline of a thing in the middle and a horizon can be made out.",
)

# %% [markdown]
# Look at the lower row for a moment. It is hardly readable, but it is no noise: there are areas and edges.
# A small picture of a picture.
#
# Working on so many fewer numbers is the reason why all this runs on your computer. It is the L in "LDM",
# latent diffusion models, the family that Stable Diffusion belongs to (Rombach et al. 2022).

# %% [markdown]
# ## 4 · Noise becomes a picture
#
# A second network, the **U-Net**, now gets three things: the noisy latents, the text vectors, and a number
# that says how noisy it still is. It answers with one thing: the noise that it sees.
#
# Take the noise away, and what is left is the picture that the network *believes* in. At first this belief
# is poor. So we do not trust it: we remove only a part of the noise, and ask again.
#
# The run from the beginning of this chapter has kept all its steps. Here are some of them.

# %%
shown = first.steps[::3]
noisy = torch.cat([pipe.schedule.to_vp(step.x, step.sigma) for step in shown])
belief = torch.cat([step.pred.x0 for step in shown])
viz.strip(
    {
        "the latents (three of the four channels, as colours)": viz.false_colours(noisy),
        "the same latents, decoded into pixels": pipe.decode(noisy),
        "what the network believes the picture to be": pipe.decode(belief),
    },
    [f"step {step.i + 1}" for step in shown],
    alt="A film strip. In the upper rows noise slowly gives way to a cat on a castle. In the lowest row the "
    "belief begins as blurred patches of colour and is nearly finished half-way.",
)

# %% [markdown]
# Compare the lower two rows. In the first steps the latents look like pure noise to us, and the network
# already has an opinion: patches of colour, a sky, something in the middle. The large shapes come first.
# Ears and battlements come last.
#
# Here is that opinion at every single step.

# %%
beliefs = pipe.decode(torch.cat([step.pred.x0 for step in first.steps]))
half = len(beliefs) // 2 + 1
viz.strip(
    {f"belief at steps 1 to {half}": beliefs[:half], f"steps {half + 1} to {len(beliefs)}": beliefs[half:]},
    alt="The belief at all steps: blurred patches of colour at first, then a shape, then a cat on a castle "
    "that hardly changes any more.",
)

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
rest = (block - sum(chips) - statue).abs().max()
print(
    f"block - all {len(chips)} chips - statue: at most {rest:.5f}, in numbers up to {block.abs().max():.0f}"
)
viz.strip(
    {
        "the block (decoded)": pipe.decode(noisy),
        "the chip of this step (as colours, made equally strong)": viz.false_colours(
            torch.cat([chips[step.i] / chips[step.i].std() for step in shown])
        ),
    },
    [f"step {step.i + 1}" for step in shown],
    alt="Upper row: noise turns into the picture. Lower row: what each step removes. Early chips are plain "
    "noise, in late ones the shape of the cat and the castle shows.",
)

# %% [markdown]
# The account is balanced: the block minus all chips is the statue. And the early chips look like noise and
# nothing else.
#
# Let us measure it. Two sheets of numbers *resemble* each other by 1 if they show the same pattern, and by
# 0 if they have nothing to do with each other (this is their correlation).


# %%
def resemblance(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


removed = [resemblance(chip, noise) for chip in chips]
believed = [resemblance(step.pred.x0, statue) for step in first.steps]
print(f"starting noise and finished picture resemble each other by {resemblance(noise, statue):.2f}")
viz.curves(
    {"resemblance": {"chip and starting noise": removed, "belief and finished picture": believed}},
    [step.i + 1 for step in first.steps],
    "step",
    alt="Two curves over the steps. The chips resemble the starting noise closely at first and less later. "
    "The belief resembles the finished picture more and more, up to 1.",
)

# %% [markdown]
# The first half of the saying holds. What is chipped off is mostly the very noise that we started with,
# and what remains is the picture.
#
# The second half does not. "The statue is in the block" would mean that the block decides. So give four
# sculptors the *same* block and different words.

# %%
prompts = [PROMPT, "a blue dog standing on a red castle", "a green tree at night", "a pink heart in the snow"]
same_block = pipe.txt2img(prompts, seed=[SEED] * len(prompts))
viz.strip(
    {"four sentences, one and the same starting noise": same_block.images},
    [prompt.replace(" standing", "") for prompt in prompts],
    zoom=1.8,
    alt="Four pictures from the same noise: an orange cat on a red castle, a blue dog on a red castle, "
    "a green tree at night, a pink heart in the snow.",
)

# %% [markdown]
# One block, four statues. The noise decides on what the words leave open, such as where things stand. The
# words decide on what is there.

# %% [markdown]
# ## 6 · Latents become pixels
#
# The last network, the **decoder**, turns the finished latents into pixels. It belongs to an
# *autoencoder*: a pair of networks that has learnt to squeeze pictures into latents and to unfold them
# again. It knows nothing of words, and it works only once, at the end.
#
# That makes three networks. This is what they weigh:

# %%
networks = {"text encoder": pipe.text_encoder, "U-Net": pipe.unet, "autoencoder": pipe.vae}
for name, network in networks.items():
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    print(f"{name:13s} {millions:5.1f} million numbers, learnt from examples")

# %% [markdown]
# ## 7 · Same seed, same picture
#
# There is chance in the starting noise, and nowhere else in this run. **Guess:** what happens if you draw
# with the same seed again? And with another?

# %%
again = pipe.txt2img(PROMPT, seed=SEED)
print("same seed, every pixel equal:", np.array_equal(first.images[0], again.images[0]))

seeds = [1, 2, 3, 4, 5, 6]
others = pipe.txt2img(PROMPT, num_images_per_prompt=len(seeds), seed=seeds)
viz.strip(
    {"": others.images},
    [f"seed {seed}" for seed in seeds],
    alt="Six different pictures of an orange cat on a red castle: other places, other backgrounds.",
)

# %% [markdown]
# The same seed gives the same picture, bit for bit. Another seed gives another cat. If you like a picture,
# keep its seed: seed and settings *are* the picture.

# %% [markdown]
# ## 8 · More steps: better and slower
#
# The network runs in every step, so twice the steps take twice the time. Do they also make a better
# picture?
#
# "Better" needs a judge. This project has one, the *oracle*: a small network that reads a picture back and
# says which things it sees, in which colours, and which stands on which. We draw eight seeds for each
# number of steps and count how often cat, castle, both colours and "on" are all right.

# %%
oracle = Oracle.load()
asked = Scene((Thing("cat", "orange"), Thing("castle", "red")), relation="on", names_background=False)


def percent_right(images):
    readings = oracle.read(np.stack([np.asarray(image) for image in images]))
    return 100 * np.mean([score(reading, asked).all_right for reading in readings])


# %%
counts, seconds, right, examples = [1, 2, 3, 5, 10, 20], [], [], []
for count in counts:
    begin = time.perf_counter()
    out = pipe.txt2img(PROMPT, num_inference_steps=count, num_images_per_prompt=8, seed=100)
    seconds.append((time.perf_counter() - begin) / len(out.images))
    right.append(percent_right(out.images))
    examples.append(out.images[0])
    print(f"steps: {count:2d}   {seconds[-1]:.2f} seconds a picture, {right[-1]:.0f} % all right")
viz.strip(
    {"the same seed": examples},
    [f"steps: {count}" for count in counts],
    alt="One seed with more and more steps: a blur after one step, then a rough shape, then a clean picture "
    "that no longer changes much.",
)

# %%
viz.curves(
    {"seconds a picture": {"": seconds}, "pictures that are all right, in percent": {"": right}},
    counts,
    "steps",
    even=True,
    alt="Left: the time a picture rises with the number of steps. Right: the share of right pictures rises "
    "from nothing to nearly all within a few steps and then stays.",
)

# %% [markdown]
# One step is not enough: the network's first belief is a blur. A few steps help enormously. After that you
# pay for every further step and get little for it.

# %% [markdown]
# ## 9 · How closely should it listen?
#
# In each step the network is asked *twice*: once with your sentence, once with an empty one. The
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
        PROMPT, guidance_scale=scale, num_inference_steps=15, num_images_per_prompt=8, seed=100
    )
    right.append(percent_right(out.images))
    examples.append(out.images[:4])
    print(f"guidance {scale:>4}: {right[-1]:3.0f} % all right")
viz.strip(
    {f"seed {100 + k}": [images[k] for images in examples] for k in range(3)},
    [f"guidance {scale}" for scale in scales],
    zoom=1.2,
    alt="Three seeds, five guidance scales. At zero: arbitrary things. At one: sometimes a cat or a castle. "
    "From three on: an orange cat on a red castle.",
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
# At 1 the model draws as it has learnt to. Higher up it draws more of what the sentence says than any
# picture it has ever seen. Too much of it, and the colours get harsh.

# %% [markdown]
# ## 10 · Who decides on the size?
#
# **Guess:** how do you get a wide picture? Let us first ask for it in words. Then let us change the sheet
# of noise instead.

# %%
asked_for = pipe.txt2img("a very wide picture of " + PROMPT, seed=SEED).images[0]
print(f"asked for in words: still {asked_for.width} x {asked_for.height} pixels")

sheets = [(16, 16), (16, 24), (16, 32), (24, 16)]
results = [
    pipe.txt2img(PROMPT, latents=torch.randn(1, 4, *sheet, generator=torch.Generator().manual_seed(SEED)))
    for sheet in sheets
]
pictures = [result.images[0] for result in results]
titles = [f"{h} x {w} places" for h, w in sheets]
print("sizes of the pictures:", ", ".join(f"{one.width} x {one.height}" for one in pictures))
viz.strip(
    {"the sheet of noise, and what came of it": pictures},
    titles,
    alt="Four pictures of different shape: square, wide, very wide, tall. Their shape is that of the noise. "
    "In the large ones things may be repeated.",
)

# %% [markdown]
# The words do not matter. The picture has eight pixels for each place of the noise, along each side,
# whatever the noise's shape.
#
# But look closely at the large ones. The model has learnt from square pictures only. With more room than
# it knows, it tends to repeat its subject. Large models do the same: ask one for twice its usual height,
# and people grow two heads.

# %% [markdown]
# ## 11 · Start from a sketch
#
# Now for the best part. What if we do not start from pure noise, but from *a picture with noise on it*?
#
# Here is a rough sketch: some sky, some ground, one blob on top of another, on the left. Once in grey,
# once in colour. It takes five lines.


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
viz.strip(
    {"": [grey, coloured]},
    ["grey", "coloured"],
    zoom=1.5,
    alt="Two sketches of the same shapes, left of the middle: an oval on top of a square. One in greys, one "
    "with an orange oval on a red square, green ground and a blue sky.",
)

# %% [markdown]
# The sketch is encoded into latents. Noise is added. Then the last steps run as always, with our sentence.
# The *strength* says how much noise is added, and so how many of the steps are left to run (Meng et al.
# 2022).

# %%
strengths = [round(0.1 * k, 1) for k in range(1, 11)]


def redraw(image, strength):
    out = pipe.img2img(image, PROMPT, strength=strength, num_inference_steps=20, seed=SEED)
    return out.images[0]


from_grey = [redraw(grey, strength) for strength in strengths]
from_coloured = [redraw(coloured, strength) for strength in strengths]
viz.strip(
    {"from the grey sketch": from_grey, "from the coloured sketch": from_coloured},
    [f"strength {strength}" for strength in strengths],
    alt="Two rows of ten pictures. On the left the sketches, nearly unchanged. Towards the right the blobs "
    "turn into a cat and a castle. At the end both rows show the same picture.",
)

# %% [markdown]
# Read the rows from left to right. With a little noise the sketch survives, and the network merely tidies
# it up. In between, the blobs turn into the things that we named, *where the blobs were*. With the full
# strength the sketch has drowned, and both rows end with the same picture. Strength 1 is text to image.


# %%
def difference(a, b):
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean() / 255 * 100)


from_sketch = [difference(coloured, image) for image in from_coloured]
between_rows = [difference(a, b) for a, b in zip(from_grey, from_coloured)]
print(f"coloured sketch and its result differ by {from_sketch[0]:.1f} % at strength {strengths[0]}")
print(f"the two rows differ by {between_rows[-1]:.1f} % at strength {strengths[-1]}")
viz.curves(
    {
        "mean difference of the pixels, in percent": {
            "to the sketch": from_sketch,
            "between the rows": between_rows,
        }
    },
    strengths,
    "strength",
    alt="The difference to the sketch rises with the strength. The difference between the two rows falls to "
    "nearly nothing at strength 1.",
)

# %% [markdown]
# Are cat and castle really where the blobs were? Let us look for the middle of all orange pixels and of
# all red ones.


# %%
def middle(image, colour):
    distance = np.abs(np.asarray(image, dtype=float) - colour).sum(axis=2)  # (128, 128)
    y, x = np.nonzero(distance < 120)
    return f"x {x.mean():3.0f}, y {y.mean():3.0f}" if len(x) else "none"


orange, red = (246, 138, 28), (216, 44, 44)
best = strengths.index(0.8)
for name, image in {
    "sketch": coloured,
    "from coloured": from_coloured[best],
    "from grey": from_grey[best],
}.items():
    print(f"{name:14s} orange at {middle(image, orange)}   red at {middle(image, red)}")
print("the oracle finds all that was asked for:", percent_right([from_grey[best]]) == 100)

# %% [markdown]
# ## 12 · All of it on one screen
#
# Everything above, without the pipeline's help. Four numbered stages, one loop, and you know every line of
# it.


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
    zoom=1.5,
    alt="Two equal pictures of an orange cat on a red castle: from our own loop and from the pipeline.",
)

# %% [markdown]
# The following chapters open one part after the other: the noise, the U-Net, the samplers, the
# autoencoder, the tokenizer, the text encoder, attention, guidance. You will build each of them yourself,
# put it in the place of the one used here, and see this picture again.

# %% [markdown]
# ## 13 · Your turn
#
# Change the lines below, run the cell, look. Make a guess each time *before* you run it.
#
# 1. **No colour.** Draw "a cat" with six seeds. Which colour are most of the cats? You did not ask for it.
#    Where does it come from?
# 2. **Swap.** Draw "a red castle standing on an orange cat". Do the words' places matter?
# 3. **A stranger.** Draw "a teapot". The model has never seen one. What does it do with a word it does not
#    know?
# 4. **Forbid something.** Add `negative_prompt="snow"` to a picture in the snow. What takes its place?
# 5. **Fewer steps.** Compare `sampler="euler"` with `sampler="dpmpp_2m"` at six steps. Then at thirty.
# 6. **Your own sketch.** Put the blobs elsewhere in `sketch`. How far can you raise the strength until
#    they are ignored?

# %%
tries = pipe.txt2img("a cat", num_images_per_prompt=6, num_inference_steps=15, seed=0)
viz.strip({"": tries.images}, alt="Six pictures drawn from the reader's own sentence, at first: a cat.")

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
