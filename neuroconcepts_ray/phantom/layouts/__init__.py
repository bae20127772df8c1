"""How an archive is laid out on disk: one module a layout, each behind :class:`~.base.Layout`."""
