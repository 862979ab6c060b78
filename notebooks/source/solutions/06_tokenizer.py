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
# # Tokenizer: solutions
#
# Each with the reason. There are other ways to the same answers.

# %%
from collections import Counter
from itertools import pairwise

from sdlearn.bpe import merge_steps, word_symbols
from sdlearn.exercises import check
from sdlearn.tokenizer_training import vocabulary

# %% [markdown]
# **06.1** The last symbol of a word is another symbol than the same letter within a word. `no` has the pair n + o with
# the mark, three times. The n + o of `now` is another pair, and it is there once.

# %%
# solution 06.1
pairs = Counter(pair for word in "no no no now on".split() for pair in pairwise(word_symbols(word)))
answer = list(pairs.most_common(1)[0][0])
check("06.1", answer)

# %% [markdown]
# **06.2** The symbols are c, a, t with the mark. Two pairs are in the list, and a + t was learned first. Then c and the
# new symbol stand side by side, and that pair was never learned.

# %%
# solution 06.2
ranks = {("a", "t</w>"): 0, ("c", "a"): 1, ("ca", "t</w>"): 2}
for step in merge_steps(word_symbols("cat"), ranks):
    answer = " ".join(step.symbols)
check("06.2", answer)

# %% [markdown]
# **06.3** Each byte alone and at the end of a word, one token a merge, start and end. The language does not matter.

# %%
# solution 06.3
answer = 2 * 256 + 1000 + 2
assert answer == len(vocabulary([]) | {f"merge {number}": number for number in range(1000)})
check("06.3", answer)

# %% [markdown]
# **06.4** Case and blanks end in `clean`. B lacks a blank, so `red` loses its mark. D has another order, E one more
# token.

# %%
# solution 06.4
answer = [True, False, True, False, False]
check("06.4", answer)

# %% [markdown]
# **06.5** Two places of the frame belong to start and end.

# %%
# solution 06.5


def lost(tokenizer, text):
    return tokenizer.tokenize(text)[tokenizer.max_length - 2 :]


check("06.5", lost)

# %% [markdown]
# **06.6** Two full chunks, and a third for the rest. Each becomes a whole frame.

# %%
# solution 06.6
chunks = -(-200 // 75)  # rounded up
answer = chunks * 77
check("06.6", answer)
