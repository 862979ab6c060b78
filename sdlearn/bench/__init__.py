"""How fast this is, honestly: medians of alternating runs, beside what this machine can do at most, and diffusers.

``sdlearn bench`` carries it out. timing.py measures, limits.py asks the machine, flops.py counts, subjects.py and
against.py say what is timed here and in diffusers, scaling.py varies one thing at a time, report.py tells it all.
Compare figures of one run on one machine; another machine is another table.
"""
