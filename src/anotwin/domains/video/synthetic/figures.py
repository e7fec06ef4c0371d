"""People as parts: how somebody looks at one moment.

Lengths are metres of a person of 1.7 metres, angles radians from hanging straight down, forward above 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from anotwin.domains.video.synthetic.drawing import Part, Pose

THIGH, SHANK, ANKLE = 0.43, 0.44, 0.07
TORSO, UPPER_ARM, FOREARM = 0.50, 0.29, 0.28
STATURE = 1.7  # of the person that these lengths are of


@dataclass(frozen=True)
class Look:
    """A person: clothes and build. Grey levels are those of full light; None: there is none."""

    shirt: float
    trousers: float
    skin: float
    hair: float
    shoes: float
    backpack: float | None
    handbag: float | None
    coat: float  # metres that it reaches below the hip; 0: a shirt
    girth: float  # 1: average
    stature: float  # metres
    pattern: int  # of the weave


class Limb(NamedTuple):
    """The angles of a leg (thigh, bend of the knee) or of an arm (upper arm, bend of the elbow)."""

    upper: float
    bend: float


@dataclass(frozen=True)
class Gait:
    """How somebody moves on foot."""

    stride: float  # metres of two steps
    swing: float  # of the thighs
    knee: float  # bend of the knee while the leg swings forward
    arms: float  # swing of the arms
    elbow: float
    lean: float
    flight: float  # metres that the body rises between two steps


WALK = Gait(stride=1.45, swing=0.42, knee=0.95, arms=0.40, elbow=0.25, lean=0.04, flight=0.0)
RUN = Gait(stride=2.5, swing=0.72, knee=1.75, arms=0.75, elbow=1.5, lean=0.2, flight=0.07)


def on_foot(pose: Pose, look: Look, gait: Gait, distance: float) -> list[Part]:
    """A person who has gone `distance` metres: feet do not slide, for the legs follow the way."""
    phase = 2 * math.pi * distance / gait.stride
    legs, arms = [], []
    for turn in (phase, phase + math.pi):
        bend = 0.08 + gait.knee * max(0.0, -math.sin(turn - 0.35)) ** 1.5
        legs.append(Limb(gait.swing * math.cos(turn) + 0.06, bend))
        arms.append(Limb(-gait.arms * math.cos(turn), gait.elbow))
    return figure(pose, look, legs, arms, gait.lean, lift=gait.flight * abs(math.sin(phase)))


def figure(
    pose: Pose,
    look: Look,
    legs: Sequence[Limb],
    arms: Sequence[Limb],
    lean: float,
    lift: float = 0.0,
    hip: tuple[float, float] | None = None,
) -> list[Part]:
    """A person from the parts that lie behind to those in front.

    Args:
        pose: where and whither.
        look: the person.
        legs: the left one, the right one.
        arms: likewise.
        lean: of the torso, forward.
        lift: metres that the lower foot is above the ground.
        hip: (forward, up) in metres of somebody who sits; None: the lower foot is on the ground.
    """
    pose = replace(pose, scale=pose.scale * look.stature / STATURE)
    if hip is None:
        reach = max(THIGH * math.cos(leg.upper) + SHANK * math.cos(leg.upper - leg.bend) for leg in legs)
        hip = (0.0, reach + ANKLE + lift)
    shoulder = (hip[0] + TORSO * math.sin(lean), hip[1] + TORSO * math.cos(lean))
    near = 1 if pose.cosine >= 0 else -1  # the side of the body that is towards the camera
    limbs = [(legs[0], arms[0], -1), (legs[1], arms[1], 1)]
    (far_leg, far_arm, _), (near_leg, near_arm, _) = sorted(limbs, key=lambda limb: limb[2] * near)
    parts = [
        *_arm(pose, look, far_arm, shoulder, -near, False),
        *_leg(pose, look, far_leg, hip, -near),
        *_torso(pose, look, hip, shoulder, lean),
        *_leg(pose, look, near_leg, hip, near),
    ]
    if look.coat:
        end = (hip[0], 0.0, hip[1] - look.coat)
        parts.append(pose.stroke((hip[0], 0.0, hip[1]), end, (0.125 * look.girth, 0.17 * look.girth), look.shirt))
    face = (shoulder[0] + 0.11 * math.sin(lean) + 0.03, 0.0, shoulder[1] + 0.15)
    crown = (face[0] - 0.02, 0.0, face[2] + 0.055)
    parts.append(pose.stroke(face, face, (0.095, 0.095), look.skin))
    parts.append(pose.stroke(crown, (crown[0] - 0.04, 0.0, crown[2] - 0.06), (0.095, 0.085), look.hair))
    return [*parts, *_arm(pose, look, near_arm, shoulder, near, True)]


def _torso(pose: Pose, look: Look, hip: tuple[float, float], shoulder: tuple[float, float], lean: float) -> list[Part]:
    broad = (0.115 + 0.05 * abs(pose.sine)) * look.girth  # seen from the front a person is broader
    low, high = (hip[0], 0.0, hip[1] + 0.02), (shoulder[0], 0.0, shoulder[1] - 0.06)
    parts: list[Part] = [pose.stroke(low, high, (broad * 0.92, broad * 1.1), look.shirt)]
    if look.backpack is not None:
        away = -0.2
        a = (hip[0] + away + 0.15 * math.sin(lean), 0.0, hip[1] + 0.14)
        b = (shoulder[0] + away, 0.0, shoulder[1] - 0.08)
        pack = pose.stroke(a, b, (0.12, 0.1), look.backpack)
        parts = [*parts, pack] if pose.sine < -0.5 else [pack, *parts]  # somebody who goes away shows it whole
    return parts


def _leg(pose: Pose, look: Look, leg: Limb, hip: tuple[float, float], side: int) -> list[Part]:
    out = 0.08 * side
    knee = (hip[0] + THIGH * math.sin(leg.upper), out, hip[1] - THIGH * math.cos(leg.upper))
    angle = leg.upper - leg.bend
    ankle = (knee[0] + SHANK * math.sin(angle), out, knee[2] - SHANK * math.cos(angle))
    toe = (ankle[0] + 0.17 * math.cos(angle * 0.7), out, ankle[2] - 0.03 + 0.17 * math.sin(angle * 0.7))
    girth = look.girth
    return [
        pose.stroke((hip[0], out, hip[1]), knee, (0.095 * girth, 0.07 * girth), look.trousers),
        pose.stroke(knee, ankle, (0.068 * girth, 0.05), look.trousers),
        pose.stroke(ankle, toe, (0.05, 0.04), look.shoes),
    ]


def _arm(pose: Pose, look: Look, arm: Limb, shoulder: tuple[float, float], side: int, near: bool) -> list[Part]:
    out = side * (0.17 * look.girth)
    top = (shoulder[0], out, shoulder[1] - 0.07)
    elbow = (top[0] + UPPER_ARM * math.sin(arm.upper), out, top[2] - UPPER_ARM * math.cos(arm.upper))
    angle = arm.upper + arm.bend
    hand = (elbow[0] + FOREARM * math.sin(angle), out, elbow[2] - FOREARM * math.cos(angle))
    sleeve = look.shirt * (1.0 if near else 0.85)  # the far arm lies in the shade of the body
    lower = look.skin if look.coat == 0 and look.pattern % 2 else sleeve  # short sleeves
    parts: list[Part] = [
        pose.stroke(top, elbow, (0.055, 0.048), sleeve),
        pose.stroke(elbow, hand, (0.045, 0.04), lower),
    ]
    if near and look.handbag is not None:
        low = (hand[0], out, hand[2] - 0.16)
        parts.append(pose.stroke((low[0] - 0.1, out, low[2]), (low[0] + 0.1, out, low[2]), (0.1, 0.1), look.handbag))
    return parts


def reaching(hip: tuple[float, float], foot: tuple[float, float]) -> Limb:
    """The angles of a leg from `hip` to an ankle at `foot`, (forward, up) each, the knee in front."""
    forward, down = foot[0] - hip[0], hip[1] - foot[1]
    reach = min(max(math.hypot(forward, down), abs(THIGH - SHANK) + 1e-3), THIGH + SHANK - 1e-3)
    knee = math.acos((THIGH**2 + SHANK**2 - reach**2) / (2 * THIGH * SHANK))
    at_hip = math.acos((THIGH**2 + reach**2 - SHANK**2) / (2 * THIGH * reach))
    return Limb(math.atan2(forward, down) + at_hip, math.pi - knee)
