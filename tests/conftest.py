"""What holds for every test."""

from hypothesis import settings

# A time limit for one example measures the machine, not the code; the same examples every time make a failure repeatable.
settings.register_profile("lyceum", deadline=None, derandomize=True)
settings.load_profile("lyceum")
