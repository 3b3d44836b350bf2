"""Attackers, in virtual time: key ids foretold before a rotation, and floods of garbage where introspection is limited."""

from __future__ import annotations

import asyncio

from ..validation import floods, rotations

GOOD = (1, 3, 10)


async def run():
    rows = []
    for name, attack in rotations.ATTACKS.items():
        seen = await asyncio.to_thread(rotations.run, attack)
        rows.append((f"seconds of false 401 in an hour, key ids: {name}", seen.refused, 30))
    for mode, shapes in floods.SHAPES.items():
        for shape in shapes:
            for good in GOOD:
                garbage = await asyncio.to_thread(floods.run, mode, good=good, shape=shape)
                what = f"% of 503 for {good} callers with {shape} tokens, 10 garbage/s, {mode}"
                rows.append((what, garbage.share, 1))
            honest = await asyncio.to_thread(floods.run, mode, good=10, shape=shape, garbage=0.0)
            rows.append((f"503 for 10 honest callers with {shape} tokens, {mode}", honest.unavailable, 0))
    return rows
