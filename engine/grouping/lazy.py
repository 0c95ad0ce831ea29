"""A value worked out when first asked for, and kept.

As functools.cached_property, which until Python 3.12 holds one lock for all instances of a class: threads that each
judge stays of their own would wait for one another.
"""

from collections.abc import Callable


class lazy:
    """Decorates a method without arguments; the instance keeps what it returns under the method's name."""

    def __init__(self, work: Callable):
        self.work, self.__doc__ = work, work.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance, owner: type | None = None):
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.work(instance)
        return value
