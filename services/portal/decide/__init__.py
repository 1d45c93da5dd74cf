"""The portal's rules, pure: what an event adds to an order's story, who is told, and what the story amounts to.

``facts``: from an event to a row of the timeline. ``view``: from the rows to the ``order`` as a person sees it. ``traces``: from what all
services said and heard to one tree. ``mail``: what becomes of a mail after a try.
"""
