"""Bicycles, carts, skateboards and bags as parts, with who rides them. Lengths are metres."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from anotwin.domains.video.synthetic.drawing import Part, Pose
from anotwin.domains.video.synthetic.figures import ANKLE, STATURE, Limb, Look, figure, reaching

_WHEEL, _REAR, _FRONT = 0.34, -0.46, 0.58  # of a bicycle: radius, and where its axles are
_SADDLE, _BARS, _PEDALS = (-0.2, 1.0), (0.42, 1.02), (0.0, 0.3)  # forward, up
_CRANK, _PER_TURN = 0.17, 5.2  # metres; the way that one turn of the pedals takes it
_HALF_LENGTH, _HALF_WIDTH = 1.35, 0.6  # of a cart


@dataclass(frozen=True)
class Paint:
    """Grey levels of a thing."""

    body: float
    trim: float
    dark: float


def bicycle(pose: Pose, look: Look, paint: Paint, lean: float, distance: float) -> list[Part]:
    """A bicycle and its rider after `distance` metres."""
    rider = replace(look, stature=STATURE, coat=0.0, handbag=None)
    turn = 2 * math.pi * distance / _PER_TURN
    feet = [
        (_PEDALS[0] + _CRANK * math.cos(angle), _PEDALS[1] + ANKLE - _CRANK * math.sin(angle))
        for angle in (turn, turn + math.pi)
    ]
    legs = [reaching(_SADDLE, foot) for foot in feet]
    arm = Limb(1.15 - 0.35 * (lean - 0.4), 0.2)
    person = figure(pose, rider, legs, [arm, arm], lean, hip=_SADDLE)
    frame: list[Part] = []
    for axle in (_REAR, _FRONT):
        middle = (axle, 0.0, _WHEEL)
        frame.append(pose.stroke(middle, middle, (_WHEEL, _WHEEL), 1.15 * paint.trim, opacity=0.3))  # its spokes
        frame.append(pose.stroke(middle, middle, (0.022, 0.022), paint.dark, ring=_WHEEL - 0.02))
    rear, front, head = (_REAR, 0.0, _WHEEL), (_FRONT, 0.0, _WHEEL), (0.44, 0.0, 0.85)
    seat, crank = (-0.17, 0.0, 0.88), (_PEDALS[0], 0.0, _PEDALS[1])
    for a, b in ((rear, crank), (crank, head), (seat, crank), (seat, head), (rear, seat), (head, front)):
        frame.append(pose.stroke(a, b, (0.03, 0.03), paint.body))
    frame.append(pose.stroke(head, (_BARS[0] + 0.04, 0.0, _BARS[1]), (0.03, 0.03), paint.dark))
    frame.append(pose.stroke((-0.3, 0.0, 0.93), (-0.05, 0.0, 0.93), (0.04, 0.03), paint.dark))
    behind = 5  # the far arm and the far leg
    return [*person[:behind], *frame, *person[behind:]]


def skater(pose: Pose, look: Look, paint: Paint, distance: float) -> list[Part]:
    """Somebody on a skateboard, who pushes with one foot now and then."""
    rider = replace(look, coat=0.0, handbag=None)
    turn = 2 * math.pi * distance / 7.0
    push = max(0.0, math.sin(turn))  # half of the time the foot is on the board
    legs = [Limb(0.25 - 0.9 * push, 0.35 + 0.2 * push), Limb(0.32, 0.55)]
    arms = [Limb(0.5 - 0.5 * push, 0.35), Limb(-0.55 + 0.4 * push, 0.3)]
    board = [pose.stroke((axle, 0.0, 0.05), (axle, 0.0, 0.05), (0.05, 0.05), paint.dark) for axle in (-0.25, 0.25)]
    deck = pose.stroke((-0.4, 0.0, 0.12), (0.42, 0.0, 0.12), (0.04, 0.04), paint.body)
    return [*board, deck, *figure(pose, rider, legs, arms, 0.12, lift=0.1)]


def cart(pose: Pose, look: Look, paint: Paint, distance: float) -> list[Part]:
    """A small open vehicle with a roof, a load bed and a driver; its near side and its top are seen."""
    near = _HALF_WIDTH if pose.cosine >= 0 else -_HALF_WIDTH
    driver = replace(look, stature=STATURE, coat=0.0, handbag=None, backpack=None)
    leg, arm = Limb(1.35, 1.2), Limb(0.8, 0.5)
    nod = 0.01 * math.sin(5 * distance)

    def side(a: float, b: float, low: float, high: float, grey: float) -> Part:
        return pose.polygon([(a, near, low), (b, near, low), (b, near, high), (a, near, high)], grey)

    def top(a: float, b: float, up: float, grey: float) -> Part:
        return pose.polygon([(a, -near, up), (b, -near, up), (b, near, up), (a, near, up)], grey)

    def wheel(axle: float, at: float) -> list[Part]:
        hub = (axle, at, 0.24)
        return [pose.stroke(hub, hub, (0.25, 0.25), 0.8 * paint.dark), pose.stroke(hub, hub, (0.1, 0.1), paint.trim)]

    low, front = -_HALF_LENGTH, _HALF_LENGTH
    posts = [
        pose.stroke((a, at, 0.8), (b, at, 1.85), (0.04, 0.04), paint.dark)
        for at in (-near, near)
        for a, b in ((-0.35, -0.35), (0.75, 0.5))
    ]
    return [
        *wheel(-0.85, -near),
        *wheel(0.9, -near),
        side(low + 0.1, front - 0.1, 0.18, 0.5, paint.dark),
        posts[0],
        posts[1],
        top(low, -0.3, 0.75, 0.75 * paint.body),
        pose.polygon([(low, -near, 0.75), (low, near, 0.75), (low, near, 0.95), (low, -near, 0.95)], paint.body),
        *figure(pose, driver, [leg, leg], [arm, arm], 0.0, hip=(0.0, 0.75 + nod)),
        side(low, -0.3, 0.35, 0.95, paint.body),
        side(-0.3, 0.62, 0.35, 0.6, 0.9 * paint.body),
        side(0.62, front, 0.35, 0.9, paint.body),
        top(0.62, front, 0.9, 1.08 * paint.body),
        *wheel(-0.85, near),
        *wheel(0.9, near),
        posts[2],
        posts[3],
        top(-0.5, 0.65, 1.88, 1.08 * paint.body),
        side(-0.5, 0.65, 1.78, 1.88, 0.85 * paint.body),
    ]


def bag(pose: Pose, paint: Paint, size: float) -> list[Part]:
    """A bag on the ground; `size` is its length."""
    half = size / 2
    body = pose.stroke((-0.55 * half, 0.0, 0.45 * half), (0.55 * half, 0.0, 0.45 * half), (half * 0.5,) * 2, paint.body)
    upper = pose.stroke((-0.5 * half, 0.0, 0.8 * half), (0.5 * half, 0.0, 0.8 * half), (half * 0.4,) * 2, paint.body)
    pocket = pose.stroke((0.2 * half, 0.0, 0.5 * half), (0.4 * half, 0.0, 0.5 * half), (half * 0.22,) * 2, paint.trim)
    handle = pose.stroke((-0.3 * half, 0.0, 1.3 * half), (0.3 * half, 0.0, 1.3 * half), (0.03, 0.03), paint.dark)
    return [handle, body, upper, pocket]
