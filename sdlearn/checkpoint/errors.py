"""The one error of this package."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written: names the file, the cause and what to do."""


def brief(error: Exception) -> str:
    """The first line of another library's message, at most 200 characters: some are pages long."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
